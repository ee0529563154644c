"""What a run prints as text, byte for byte, and the same as events."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from manifests.log import chosen
from operators.vlm.request import Usage
from pipelines.report import progress
from pipelines.report.progress import live
from pipelines.report.terminal import SILENT, TERMINAL, is_live, tell
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.watch import Painting
from tests.datasets import plan_job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return plan_job(tmp_path / "out" / "derain", None)


def _made(job: Job, unit: int) -> Any:
    commit = SimpleNamespace(
        unit=unit, pairs=18, rejects=Counter(ugly=2), examples={}, missing={}, without_context=0, shard_bytes=1000
    )
    return SimpleNamespace(commit=commit, usage=Usage(), spent=Spent())


def _run(job: Job, to: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of two shards that takes no time, and says after each how far it is."""
    monkeypatch.setattr(progress, "_LINE_EVERY_S", -1.0)
    monkeypatch.setattr(progress.RunProgress, "seconds", property(lambda run: 10.0))
    with live([(job, 2)], to) as run:
        watch = run.watch
        watch.on_start(3)
        watch.on_made(job, _made(job, 0))
        watch.on_stall("nothing has come back for 1 min")
        painting = Painting(
            job=job, operators=("flux",), gpus=1.0, pairs=4, pairs_left=0, painters=1, held_s=8, gpu_s=4
        )
        watch.on_tick([painting])


LINES = [
    "2 shards on 3 workers ...",
    "1 of 2 shards made, 18 pairs, 2.0 pairs/s, 2 rejects, estimating the time left",
    "nothing has come back for 1 min",
    "1 of 2 shards made, 18 pairs, 2.0 pairs/s, 2 rejects, 0:00:00 left",
    "  derain: flux: 1 painter, 4 pairs done, 1,800 pairs an hour, 50% busy",
]


def test_text_is_printed_as_before(
    job: Job, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _run(job, TERMINAL, monkeypatch)
    out, err = capfd.readouterr()
    assert out.splitlines() == LINES
    assert err == ""


def test_events_have_the_same_texts_and_the_numbers_in_them(
    job: Job, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _run(job, TERMINAL, monkeypatch)
    text = capfd.readouterr().out.splitlines()
    with chosen(["--log", "json"]):
        _run(job, TERMINAL, monkeypatch)
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [one["message"] for one in events if one["event"] != "unit"] == text
    start, unit, made, stall, ticked, painters = events
    assert (start["event"], start["units"], start["workers"]) == ("start", 2, 3)
    assert (unit["event"], unit["task"], unit["unit"]) == ("unit", "derain", job.plan.name(0))
    assert (unit["pairs"], unit["rejects"], unit["bytes"]) == (18, {"ugly": 2}, 1000)
    for progressed in (made, ticked):
        assert (progressed["event"], progressed["units_made"], progressed["units"]) == ("progress", 1, 2)
        assert (progressed["pairs"], progressed["pairs_per_s"], progressed["rejects"]) == (18, 2.0, 2)
    assert (stall["event"], stall["level"]) == ("stall", "warning")
    assert (painters["event"], painters["task"], painters["operators"]) == ("painters", "derain", ["flux"])
    assert (painters["pairs"], painters["held_s"], painters["gpu_s"]) == (4, 8, 4)


def test_whatever_is_printed_on_our_console_is_an_event_and_on_others_it_is_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    heard = io.StringIO()
    table = Table("a", "b", box=None)
    table.add_row("1", "[bold]")
    with chosen(["--log", "json"]):
        TERMINAL.print("next: [x]", highlight=False, soft_wrap=True)
        tell(TERMINAL, "report", table, rows=1)
        tell(SILENT, "report", "nothing")
        tell(Console(file=heard, width=140), "report", "text", rows=1)
        assert not is_live(Console(force_terminal=True, file=heard))
    message, report = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (message["event"], message["message"]) == ("message", "next: [x]")
    assert (report["event"], report["rows"]) == ("report", 1)
    assert [line.split() for line in report["message"].splitlines()] == [["a", "b"], ["1", "[bold]"]]
    assert heard.getvalue() == "text\n"
    assert is_live(Console(force_terminal=True, file=heard))
