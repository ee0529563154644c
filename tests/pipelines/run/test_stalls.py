"""Workers that are stopped: said after a minute, ended, and their work done again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import ClassVar

import pytest

from manifests.schema import Pair
from operators.degrade.rain import Rain
from pipelines.run import engine, stalls
from pipelines.run.stalls import Stall, end_stopped, named
from pipelines.run.watch import Watch
from pipelines.tasks.low_level import DERAIN
from tests.datasets import finish_job, make_dataset, plan_job, sha256_by_file
from tests.sources import write_photos


@dataclass(frozen=True, kw_only=True)
class StopsItself:
    """Stops its own process at the pair `ref`, the first time."""

    name: ClassVar[str] = "stops_itself"
    version: ClassVar[int] = 1
    ref: str
    stopped: str = field(metadata={"location": True})

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref == self.ref and not os.path.exists(self.stopped):
            Path(self.stopped).touch()
            os.kill(os.getpid(), SIGSTOP)
        return Rain()(pair, seed)


def test_a_minute_without_a_word_is_said_once_and_looked_into_from_time_to_time() -> None:
    now_s, said = 100.0, list[str]()
    stall = Stall(said.append, lambda: now_s)
    found = []
    for now_s in (159.0, 160.0, 161.0, 189.0, 190.0, 220.0):  # noqa: B007
        found.append(stall.is_due(lambda: "derain-000003"))
    assert found == [False, True, False, False, True, True]
    (line,) = said
    assert line.startswith("nothing has come back for 1 min; at work: derain-000003.")
    now_s = 230.0
    stall.heard()
    now_s = 289.0
    assert not stall.is_due(str) and len(said) == 1
    now_s = 290.0
    assert stall.is_due(str) and len(said) == 2
    now_s = 890.0
    assert stall.is_due(str) and "for 11 min; at work: nothing" in said[2]


def test_only_our_processes_that_stay_stopped_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", os.getpid)  # it runs in a child of whoever has started the others
    monkeypatch.setattr(stalls, "_STOPPED_S", 0.5)
    with _named("ray::made_unit") as ours, _named("ray::made_unit") as at_work, _named("ray::other") as others:
        for pid in (ours, others):
            os.kill(pid, SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])  # a signal takes a while to arrive
        (said,) = end_stopped()
        assert f"process {ours} " in said
        assert os.waitpid(ours, 0)[1] == SIGKILL
        assert [os.waitpid(pid, os.WNOHANG) for pid in (at_work, others)] == [(0, 0), (0, 0)]
    assert end_stopped() == []


@pytest.mark.usefixtures("local_ray")
def test_a_stopped_worker_is_ended_and_its_unit_made_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "STALLED_S", 1.0)
    monkeypatch.setattr(stalls, "_LOOK_EVERY_S", 1.0)
    photos = write_photos(tmp_path / "photos", 6)
    stops = StopsItself(ref="0003.jpg", stopped=str(tmp_path / "stopped"))
    task = DERAIN.changed(lambda link: stops if isinstance(link, Rain) else link)
    job = plan_job(tmp_path / "ray", photos, task=task)
    said: list[str] = []
    engine.run([job], Watch(on_stall=said.append))
    finish_job(job)
    assert (tmp_path / "stopped").exists()
    assert any("at work: derain-000000" in line for line in said)
    assert sum("was stopped, and is ended" in line for line in said) == 1
    make_dataset(tmp_path / "here", photos, task=task)
    assert sha256_by_file(tmp_path / "ray") == sha256_by_file(tmp_path / "here")


def test_of_many_units_the_first_are_named() -> None:
    assert named(["a", "b"]) == "a, b"
    assert named([*"abcdef"]) == "a, b, c and 3 more"


@contextmanager
def _named(name: str) -> Iterator[int]:
    """A child process of this name, as Ray's workers have one of theirs."""
    process = subprocess.Popen([name, "-c", "import time; time.sleep(600)"], executable=sys.executable)
    time.sleep(0.1)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
