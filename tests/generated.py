"""Runs a task that models make, in the test's own process."""

from __future__ import annotations

from pathlib import Path

from manifests.verify.dataset import verify
from manifests.write.finish import finish
from operators.base import Reader
from pipelines.run.plan import make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.task import Task


def generate(task: Task, reader: Reader, models: str, folder: Path) -> Path:
    """The dataset directory, made and verified."""
    out = folder / task.name
    job = make_job(task.bound(models), reader, str(out), seed=0)
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    finish(job.dataset, job.plan, versions=versions(job.task), licences={reader.source: reader.licence})
    assert [finding.message for finding in verify(str(out))] == []
    return out
