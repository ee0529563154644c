"""The requests that plans reckon with, beside those that a local S3 counts."""

from __future__ import annotations

import re
import sys
from collections import Counter

import pytest

from operators.read.bundled import BundledPhotos
from pipelines.report.requests import RUN, UNIT, Requests, run_requests
from pipelines.run.plan import make_job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.low_level import DERAIN
from tests.buckets.conftest import S3
from tests.commands import run
from tests.datasets import finish_job


def _counted(s3: S3) -> Requests:
    """What the server was asked since the last time, by S3's prices."""
    kinds: Counter[str] = Counter()
    for method, path, _ in s3.requests():
        written = method in ("PUT", "POST") or re.search(r"\?(.*&)?list-type=", path)
        kinds["free" if method == "DELETE" else "writes" if written else "reads"] += 1
    return Requests(writes=kinds["writes"], reads=kinds["reads"])


def test_each_further_unit_costs_what_plans_say(s3: S3) -> None:
    s3.bucket("units")
    found = {}
    for units in (2, 3):
        reader = BundledPhotos(photos=("skimage/data/grass.png",), crops_per_photo=32 * units, side_px=32)
        s3.requests()
        job = make_job(DERAIN, reader, f"s3://units/{units}/derain", 0)
        assert job.plan.units == units
        for unit in range(units):
            make_unit(job, unit, Spent())
        finish_job(job)
        found[units] = _counted(s3)
    assert found[2] + UNIT == found[3]


@pytest.mark.infra
def test_whole_runs_cost_what_plans_say(s3: S3) -> None:
    """By the command, on Ray. The lease may be renewed once or twice while it runs."""
    s3.bucket("runs")
    for units in (2, 4, 8):
        s3.requests()
        out = f"s3://runs/{units}"
        command = [sys.executable, "-m", "infra.command", "shards", "derain", "--scale", str(units / 10)]
        made = run([*command, "--out", out, "--cpus", "2"])
        assert made.returncode == 0, made.stderr
        counted, planned = _counted(s3), run_requests(units, 0.0)
        assert planned == RUN + UNIT * units
        assert 0 <= counted.writes - planned.writes <= 4 and 0 <= counted.reads - planned.reads <= 4
