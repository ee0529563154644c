"""`xprompt models`, as a user types it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.command import main
from operators.models import presence
from operators.models.published import Published
from operators.models.table import CHECKPOINTS
from pipelines.models import needed_by
from pipelines.tasks.catalogue import find_task
from tests.commands import ROOT
from tests.sources import write_files


def _rows(arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    status = main(["models", *arguments.split(), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return status, {row["role"]: row for row in rows}


def test_the_whole_table_is_listed_with_its_terms(capsys: pytest.CaptureFixture[str]) -> None:
    status, rows = _rows("", capsys)
    assert status == 0 and rows.keys() == CHECKPOINTS.keys()
    flux = rows["flux"]
    assert flux["revision"] == "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21" and flux["gated"]
    assert "not to train a model that competes" in flux["outputs"] and flux["tasks"] == ["style", "composition", "pose"]
    assert all(row["outputs"] and row["licence"] and row["obtain"] for row in rows.values())
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(role in printed for role in ("flux-kontext", "stable-cascade", "sd15-tryon"))
    assert "FLUX.1 [dev] non-commercial: yours for any purpose" in printed
    assert "…" not in printed and "\\" not in printed  # names are whole, and as they are


@pytest.mark.parametrize(
    ("task", "needed"),
    [
        ("style", {"flux", "stable-cascade-prior", "stable-cascade", "csd", "clip", "dino"}),
        ("pose", {"sd15", "sd15-controlnet-openpose", "blazepose"}),
        ("hed2img", {"hed"}),
        ("mimicbrush", set()),
        ("editing", {"flux-kontext", "flux-fill", "clip", "dino"}),
    ],
)
def test_what_a_task_needs_is_what_it_loads(task: str, needed: set[str]) -> None:
    assert set(needed_by(find_task(task))) == needed


def test_a_task_is_told_what_it_needs_by_its_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, rows = _rows(f"pose --models {tmp_path} --generator flux --estimator dwpose", capsys)
    assert status == 1
    assert {role for role, row in rows.items() if row["needed"]} == {"flux", "flux-controlnet-pose", "dwpose"}
    assert {row["state"] for row in rows.values()} == {"missing"} and "sd15" in rows
    assert main(["models", "TASK=pose", "GENERATOR=flux", f"MODELS={tmp_path}"]) == 1
    printed = capsys.readouterr().out
    assert f"flux-controlnet-pose is missing: {CHECKPOINTS['flux-controlnet-pose'].obtain}" in printed
    assert "sd15 is missing" not in printed  # which is not needed


def test_present_missing_and_wrong_and_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = b"weights"
    known = Published(size_bytes=7, sha256=hashlib.sha256(weights).hexdigest())
    monkeypatch.setattr(presence, "PUBLISHED", {"hed": {"ControlNetHED.pth": known}})
    assert _rows(f"hed2img --models {tmp_path}", capsys)[0] == 1
    write_files(tmp_path, {"hed/ControlNetHED.pth": weights})
    status, rows = _rows(f"hed2img --models {tmp_path}", capsys)
    assert status == 0 and rows["hed"]["state"] == "present" and rows["hed"]["folder"] == str(tmp_path / "hed")
    write_files(tmp_path, {"hed/ControlNetHED.pth": b"another"})
    status, rows = _rows(f"hed2img --models {tmp_path}", capsys)
    assert status == 1 and rows["hed"]["state"] == "wrong" and "sha256" in rows["hed"]["why"]
    assert main(["models", "hed2img", "--models", str(tmp_path)]) == 1
    assert "hed is wrong (ControlNetHED.pth has the sha256" in capsys.readouterr().out
    assert _rows(f"derain --models {tmp_path}", capsys) == (0, {})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("models stlye", "xprompt models: there is no task 'stlye': did you mean style?"),
        ("models derain --generator flux", "xprompt models: there is no option --generator"),
        ("models TASK=pose GENERATR=flux", "xprompt models: there is no variable GENERATR: did you mean GENERATOR?"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(line) and printed.err.count("\n") == 1


def test_the_makefile_asks_for_the_models_libraries_only_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["needs", "models", "TASK=style"]) == 0 and capsys.readouterr().out == "\n"
    assert main(["needs", "models", "MODELS=hub"]) == 0 and capsys.readouterr().out == "models\n"


def test_neither_ray_nor_torch_is_started_to_list() -> None:
    script = (
        "import sys; from infra.command import main; status = main(['models', 'style', '--models', '/nowhere'])\n"
        "sys.exit(3 if {'ray', 'torch'} & set(sys.modules) else status)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
