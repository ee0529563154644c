"""The file of targets by which Prometheus finds a Ray of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipelines.run.targets import announced

NODES = [
    {"NodeManagerAddress": "10.0.0.1", "MetricsExportPort": 8080, "Alive": True},
    {"NodeManagerAddress": "10.0.0.2", "MetricsExportPort": 8081, "Alive": False},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


def test_the_file_is_there_while_the_block_lasts_and_names_nodes_that_live(folder: Path) -> None:
    said: list[str] = []
    with announced(said.append):
        (file,) = folder.iterdir()
        assert file.name == f"xprompt_metrics_{os.getpid()}.json"
        assert json.loads(file.read_text()) == [{"labels": {"job": "xprompt-engine"}, "targets": ["10.0.0.1:8080"]}]
    assert [*folder.iterdir()] == [] and said == []


def test_files_of_runs_that_were_killed_are_removed_and_those_of_others_stay(folder: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (folder / f"xprompt_metrics_{ended.pid}.json").write_text("[]")
    (folder / f"xprompt_metrics_{os.getppid()}.json").write_text("[]")
    (folder / "prom_metrics_service_discovery.json").write_text("[]")
    with announced(lambda text: None):
        pass
    assert {file.name for file in folder.iterdir()} == {
        f"xprompt_metrics_{os.getppid()}.json",
        "prom_metrics_service_discovery.json",
    }


def test_where_it_cannot_be_written_one_line_says_so(folder: Path) -> None:
    folder.rmdir()
    said: list[str] = []
    with announced(said.append):
        pass
    assert len(said) == 1 and "Prometheus cannot be told" in said[0]
