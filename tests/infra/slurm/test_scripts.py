"""The job scripts without Slurm: what shellcheck says, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT

SCRIPTS = sorted(
    path.relative_to(ROOT)
    for folder in ("infra/slurm", "infra/vlm")
    for path in (ROOT / folder).iterdir()
    if path.suffix in (".sh", ".sbatch")
)
JOB = {"SLURM_JOB_NAME": "mine", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1"}


def test_shellcheck_finds_nothing() -> None:
    assert {path.name for path in SCRIPTS} >= {"common.sh", "engine.sbatch", "train.sbatch", "serve.sh"}
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [shellcheck, "--external-sources", *map(str, SCRIPTS)], cwd=ROOT, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("script", "environment", "arguments", "line"),
    [
        ("engine", {"XPROMPT_REPO": "/nowhere"}, ["xprompt"], "engine.sbatch: /nowhere is no clone of the repository"),
        ("train", {"XPROMPT_REPO": "/nowhere"}, ["--out", "x"], "train.sbatch: /nowhere is no clone of the repository"),
        (
            "engine",
            {"XPROMPT_VENV": "/nowhere"},
            ["xprompt"],
            "mine: there is no /nowhere/bin/python: set XPROMPT_VENV",
        ),
        ("engine", {}, [], "mine: nothing is to be run"),
        (
            "train",
            {"SLURM_ARRAY_JOB_ID": "7"},
            ["--out", "x"],
            "mine: a job array is not taken: one OUT has one writer",
        ),
        ("engine", {"XPROMPT_VLM_GPUS": "one"}, ["xprompt"], "mine: XPROMPT_VLM_GPUS=one is not a number of GPUs"),
        ("engine", {"XPROMPT_VLM_GPUS": "1"}, ["xprompt"], "mine: XPROMPT_VLM_GPUS needs XPROMPT_VLM_VENV"),
        (
            "engine",
            {"XPROMPT_VLM_GPUS": "2", "XPROMPT_VLM_VENV": "/vllm", "CUDA_VISIBLE_DEVICES": "0"},
            ["xprompt"],
            "engine.sbatch: XPROMPT_VLM_GPUS=2, but Slurm gave the job 1 GPUs on its first node",
        ),
        (
            "engine",
            {"XPROMPT_VLM_GPUS": "1", "XPROMPT_VLM_VENV": "/vllm", "CUDA_VISIBLE_DEVICES": "0"},
            ["xprompt", "shards", "derain", "--vlm=http://localhost/v1"],
            "engine.sbatch: the command names a vision-language model, and XPROMPT_VLM_GPUS serves another",
        ),
        ("train", {}, ["--out", "x"], "mine: the job has no GPUs: submit with --gpus-per-node=N, or set XPROMPT_RANKS"),
        ("train", {"XPROMPT_RANKS": "0"}, ["--out", "x"], "mine: XPROMPT_RANKS=0 is not a number of ranks"),
        ("train", {"XPROMPT_RANKS": "1", "SLURM_HET_SIZE": "2"}, ["--out", "x"], "mine: the ranks of a run have nodes"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    script: str, environment: dict[str, str], arguments: list[str], line: str, tmp_path: Path
) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "XPROMPT_", "CUDA_"))}
    place = {"SLURM_SUBMIT_DIR": str(ROOT), "XPROMPT_VENV": str(Path(sys.executable).parents[1])}
    done = subprocess.run(
        ["bash", str(ROOT / f"infra/slurm/{script}.sbatch"), *arguments],
        env=clean | JOB | place | environment,
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
