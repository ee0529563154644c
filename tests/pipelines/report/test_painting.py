"""What is said of painters: the line of a stage, and the time that they have left."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.report.progress import live, painting_lines, print_report
from pipelines.report.terminal import SILENT
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.waits import Waits
from pipelines.run.watch import Painting
from tests.datasets import plan_job
from tests.sources import write_photos


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return plan_job(tmp_path / "out", write_photos(tmp_path / "photos", 20))


def _painting(job: Job) -> Painting:
    """Four painters, an hour each, six minutes of it to start: 3 h of painting, 300 pictures of 100 pairs."""
    return Painting(
        job=job,
        operators=("flux", "rb_modulation"),
        gpus=1.0,
        pairs=100,
        pairs_left=1_900,
        painters=4,
        pictures=300,
        places=400,
        own=300,
        held_s=4 * 3_600.0,
        gpu_s=3 * 3_600.0,
        starting_s=4 * 360.0,
        loading_s=720.0,
        answers_s=1_296.0,
        disk_s=60.0,
    )


def test_lines_say_how_fast_how_busy_and_what_was_waited_for(job: Job) -> None:
    assert painting_lines(_painting(job)) == [
        "flux + rb_modulation: 4 painters, 100 pairs done, 1,900 left, 333 pictures an hour",
        "75% busy (10% started, 9% waited for answers, 5% loaded models), batches 75% full",
    ]


def test_lines_of_painters_that_are_no_more_give_the_rate_of_one(job: Job) -> None:
    ended = replace(_painting(job), painters=0, pairs_left=0, places=0, lost=3, idle_s=144.0, loading_s=0.0)
    assert painting_lines(ended) == [
        "flux + rb_modulation: 100 pairs done, 83 pictures an hour a painter",
        "75% busy (10% started, 9% waited for answers, 1% had nothing to do), 3 pairs begun again, since painters died",
    ]


def test_what_paints_no_picture_is_counted_in_pairs(job: Job) -> None:
    line, _ = painting_lines(replace(_painting(job), operators=("edges",), pictures=0))
    assert line == "edges: 4 painters, 100 pairs done, 1,900 left, 111 pairs an hour"


def test_before_the_first_pair_there_is_no_rate(job: Job) -> None:
    begun = Painting(job=job, operators=("flux",), gpus=1.0, pairs_left=20, painters=1, held_s=30.0, starting_s=10.0)
    assert painting_lines(begun) == ["flux: 1 painter, 0 pairs done, 20 left"]


def test_a_log_file_hears_of_each_stage_at_work(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 7_000, 7))
    monkeypatch.setattr("pipelines.report.progress.time.monotonic", lambda: float(next(seconds)))
    heard = io.StringIO()
    with live([(job, 1)], Console(file=heard, width=140)) as run:
        for _ in range(2):  # one comes too early to be said
            run.tick([_painting(job), replace(_painting(job), operators=("edges",), painters=0)])
    (line,) = (line for line in heard.getvalue().splitlines() if line.startswith("  "))
    assert line == "  derain: " + ", ".join(painting_lines(_painting(job)))
    assert "edges" not in heard.getvalue()


def test_a_terminal_has_a_line_of_each_stage_at_work_below_the_live_line(job: Job) -> None:
    heard = io.StringIO()
    with live([(job, 1)], Console(file=heard, width=60, force_terminal=True)) as run:
        run.tick([_painting(job), replace(_painting(job), operators=("edges",), painters=0)])
        run.line.refresh()
    assert "\n  derain: flux + rb_modulation: 4 painters, 100 pairs done,…\n" in heard.getvalue()
    assert "edges" not in heard.getvalue()


def test_a_groups_time_goes_to_painting_and_loading_and_not_to_other_steps(job: Job) -> None:
    painting = Painting(job=job, operators=("flux", "scores"), gpus=1.0)
    spent = Spent(
        seconds={"flux": 88.0, "scores": 2.0, "vlm_filter": 6.0},
        loading_s=defaultdict(float, flux=60.0),
        pictures=Counter({"flux": 2}),
        places=Counter({"scores": 16}),
        own=Counter({"scores": 4}),
    )
    for _ in range(2):
        painting.add(spent, Waits(answers_s=1.0, disk_s=2.0))
    assert (painting.gpu_s, painting.loading_s) == (60.0, 120.0)
    assert (painting.pictures, painting.places, painting.own) == (4, 32, 8)
    assert (painting.answers_s, painting.disk_s) == (2.0, 4.0)


def test_the_time_left_is_the_work_of_all_stages_over_all_painters(job: Job) -> None:
    """1,900 pairs of 129.6 s on a GPU each, and 900 of 36 s on a quarter of one: four painters, and four quarters."""
    quarter = Painting(
        job=job,
        operators=("edges",),
        gpus=0.25,
        pairs=100,
        pairs_left=900,
        painters=4,
        held_s=3_700.0,
        starting_s=100.0,
    )
    with live([(job, 1)], SILENT) as run:
        run.tick([_painting(job), replace(quarter, pairs=0)])
        assert run.left == "estimating the time left"
        run.tick([_painting(job), quarter])
        left_s = (1_900 * 4 * 3_240 / 100 + 900 * 36 / 4) / (4 + 1)
        assert left_s == 50_868.0
        assert run.left == "14:07:48 left"


def test_the_report_has_a_line_of_each_stage(job: Job) -> None:
    heard = io.StringIO()
    with live([(job, 1)], SILENT) as run:
        run.tick([_painting(job)])
        tally = run.tally(job)
        tally.totals.units, tally.seconds = 1, 10.0
    print_report(job, tally.totals, tally, to=Console(file=heard, width=200))
    lines = [" ".join(line.split()) for line in heard.getvalue().splitlines()]
    first, second = painting_lines(_painting(job))
    place = lines.index(f"painters {first}")
    assert lines[place + 1] == second
