"""What is said while a run works: to a log file, to a terminal, to nobody."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from manifests.dataset import Commit
from operators.vlm.request import Usage
from pipelines.report.progress import live, painting_lines, print_report
from pipelines.report.terminal import SILENT, TERMINAL
from pipelines.run.made import Made
from pipelines.run.nothing import Trial
from pipelines.run.painter import Delivered
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.waits import Waits
from pipelines.run.watch import Painting
from tests.datasets import plan_job
from tests.sources import write_photos

ITEMS = 40  # two shards of 20


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return plan_job(tmp_path / "out", write_photos(tmp_path / "photos", ITEMS))


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on by 7 seconds whenever it is read."""
    seconds = iter(range(0, 7_000, 7))
    monkeypatch.setattr("pipelines.report.progress.time.monotonic", lambda: float(next(seconds)))


@pytest.mark.usefixtures("_clock")
def test_a_log_file_hears_of_workers_of_shards_and_of_the_time_left(job: Job) -> None:
    heard = io.StringIO()
    with live([(job, 2)], Console(file=heard, width=140)) as run:
        run.begin(1)
        run.add(job, _made(0))
        run.add(job, _made(1))
    said = heard.getvalue().splitlines()
    assert said[0] == "2 shards on 1 worker ..."
    assert said[1].startswith("1 of 2 shards made, 18 pairs, ")
    assert said[1].endswith("2 rejects, estimating the time left")
    assert said[-1].startswith("2 of 2 shards made, 36 pairs, ") and said[-1].endswith("4 rejects, 0:00:00 left")


def test_a_terminal_has_a_line_that_says_when(job: Job) -> None:
    heard = io.StringIO()
    with live([(job, 2)], Console(file=heard, width=140, force_terminal=True)) as run:
        run.begin(1)
        run.line.refresh()
        assert "estimating the time left" in heard.getvalue()
        run.add(job, _made(0))
        run.add(job, _made(1))
    assert "shards  36 pairs" in heard.getvalue()


def test_silent_nothing_is_said_and_all_is_counted(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    with live([(job, 2)], SILENT) as run:
        run.begin(1)
        run.stalled("anything")
        run.add(job, _made(0))
    totals = run.tally(job).totals
    assert (totals.units, totals.pairs, totals.rejects.total()) == (1, 18, 2)
    assert capfd.readouterr() == ("", "")


def test_the_report_goes_where_it_is_asked_to(job: Job, capfd: pytest.CaptureFixture[str]) -> None:
    heard = io.StringIO()
    with live([(job, 1)], SILENT) as run:
        run.add(job, _made(0))
    print_report(job, run.tally(job).totals, run.tally(job), to=Console(file=heard, width=140))
    lines = [" ".join(line.split()) for line in heard.getvalue().splitlines()]
    assert "pairs 18" in lines and "rejected 2 items" in lines
    assert "50% rain: one worker does 10.0 a second" in lines
    assert "50% choosing contexts, hashing and writing" in lines
    assert capfd.readouterr() == ("", "")


def test_each_dataset_of_a_run_has_its_own_account(job: Job, tmp_path: Path) -> None:
    other = plan_job(tmp_path / "other", write_photos(tmp_path / "photos", ITEMS))
    with live([(job, 2), (other, 1)], SILENT) as run:
        run.add(job, _made(0))
        run.add(other, _made(0))
        run.delivered(
            other, Delivered(ended=(), waits=Waits(), usage=Usage(calls=3), spent=Spent(units_s=5.0), trial=Trial())
        )
        run.add(job, _made(1))
        run.tick([_painting(job), _painting(other)])
    assert (run.tally(job).totals.units, run.tally(other).totals.units) == (2, 1)
    assert (run.tally(job).usage.calls, run.tally(other).usage.calls) == (0, 3)
    assert (run.tally(job).spent.units_s, run.tally(other).spent.units_s) == (8.0, 9.0)
    assert [one.job for one in run.tally(other).paintings] == [other]


@pytest.mark.usefixtures("_clock")
def test_a_log_file_hears_of_painters_and_how_long_their_queues_last(job: Job) -> None:
    """1,234 pairs at 8 s of a painter each, by 2 painters."""
    heard = io.StringIO()
    with live([(job, 2)], Console(file=heard, width=140)) as run:
        run.begin(2)
        for _ in range(2):
            run.tick([_painting(job)])
    assert "0 of 2 shards made, 0 pairs, 0.0 pairs/s, 0 rejects, 1:22:16 left" in heard.getvalue()
    assert "\n  derain: flux + scores: 2 painters, 50 pairs done" in heard.getvalue()


def test_painters_without_models_are_said_to_try_pairs(tmp_path: Path) -> None:
    job = plan_job(tmp_path, write_photos(tmp_path / "photos", 1))
    assert painting_lines(replace(_painting(job), operators=()))[0].startswith("pairs one by one: 2 painters, 50 pairs")


def _painting(job: Job) -> Painting:
    return Painting(
        job=job,
        operators=("flux", "scores"),
        gpus=1.0,
        pairs=50,
        pairs_left=1_234,
        painters=2,
        lost=3,
        gpu_s=300.0,
        held_s=400.0,
    )


def _made(unit: int) -> Made:
    """A shard of 20 items, of which 18 were kept, made in 4 s, 2 of them of rain."""
    spent = Spent(units_s=4.0)
    spent.items["rain"], spent.batches["rain"], spent.seconds["rain"] = 20, 20, 2.0
    commit = Commit(
        unit=unit,
        fingerprint="",
        shard_bytes=2**20,
        shard_sha256="",
        members=36,
        rejects_sha256="",
        pairs=18,
        examples={"forward generate": 18},
        without_context=0,
        rejects={"too_small": 2},
        missing={},
    )
    return Made(commit=commit, usage=Usage(), spent=spent)


def test_a_name_with_escapes_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_row("in a table \x1b]0;title\x07")
    TERMINAL.print("photos \x1b[31m[/foo]", "\u202e")
    TERMINAL.print(table)
    printed = capsys.readouterr().out
    assert r"photos \x1b[31m[/foo] \u202e" in printed
    assert r"in a table \x1b]0;title\x07" in printed
    assert not set(printed) & set("\x1b\x07\u202e")
