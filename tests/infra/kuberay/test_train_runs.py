"""What the trainer's pods run, run here: two processes in the place of two pods, one of which is asked to leave."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from infra.kuberay.__main__ import render
from infra.kuberay.train import RENDEZVOUS
from infra.kuberay.values import read_values
from infra.slurm.ports import free_port
from tests.commands import ROOT, Running
from tests.infra.kuberay.test_values import GIVEN
from tests.train.make import make_model, make_tokens
from train.run.stopping import STOPPED

pytestmark = pytest.mark.infra

STEPS = 12
OPTIONS = "--xp-tokens 4 --window-tokens 128 --streams 4 --global-windows 4 --warmup-steps 2 --checkpoint-every 3"


def pods(folder: Path) -> list[Running]:
    """The pods of the Job, started. Names of hosts mean this machine, and the port is a free one."""
    values = yaml.safe_load(GIVEN.read_text())
    places = ["--data", f"{folder}/derain", "--model", f"{folder}/model", "--out", f"{folder}/run"]
    values["train"] |= {"nodes": 2, "gpus": 0, "command": [*places, *OPTIONS.split(), "--steps", STEPS]}
    values |= {"volume": {"claim": "x", "mount": str(folder)}, "engine": None}
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    _, job = render(read_values(folder / "values.yaml"), ["train"])["train"]
    *tini, bash, option, script = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert (tini, bash, option) == (["tini", "--"], "bash", "-c")
    name, port = job["metadata"]["name"], str(free_port())
    script = script.replace(f"{name}-0.{name}", "127.0.0.1").replace(str(RENDEZVOUS), port)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {"PATH": path, "PYTHONPATH": str(ROOT)}
    indices = reversed(range(job["spec"]["completions"]))  # the first pod is the last one to start
    return [Running([bash, option, script], {**env, "JOB_COMPLETION_INDEX": str(index)}, folder) for index in indices]


def steps(folder: Path) -> list[int]:
    path = folder / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [record["step"] for record in records if "loss" in record]


def test_a_pod_that_is_asked_to_leave_takes_all_along_and_they_go_on(tmp_path: Path) -> None:
    make_tokens(str(tmp_path / "derain"), own_groups=True)
    make_model(tmp_path / "model")
    second, first = pods(tmp_path)
    with second, first:
        second.until(lambda: len(steps(tmp_path)) >= 2)
        os.kill(second.process.pid, signal.SIGTERM)  # as tini passes it on
        ends = [pod.wait() for pod in (second, first)]
    assert [end.returncode for end in ends] == [STOPPED, STOPPED], ends
    before = steps(tmp_path)
    assert 2 <= len(before) < STEPS
    second, first = pods(tmp_path)
    with second, first:
        ends = [pod.wait() for pod in (second, first)]
    assert [end.returncode for end in ends] == [0, 0], ends
    assert steps(tmp_path) == list(range(1, STEPS + 1))  # none twice and none left out
