"""The engine that this project had on GPUs before: the arm to compare with.

A row of a Ray Data job is a whole work unit; an actor with a share of a GPU takes it through the whole chain. A unit
whose actor dies again and again is made once more, alone. Left out here: what it said to the user.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError, RayTaskError
from ray.util.annotations import RayDeprecationWarning

from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit

UNIT_RETRIES = 2
ITEM_DEATHS = 2


def workers(job: Job, units: int) -> int:
    """How many actors the cluster has room for, at most one a unit."""
    return max(1, min(int(ray.cluster_resources()["GPU"] / _gpus(job)), units))


def run(job: Job) -> None:
    """Make every unit that is not committed. Raises RuntimeError for the first that cannot be made."""
    pending = sorted(set(range(job.plan.units)) - job.dataset.committed())
    for _ in _rows(job, pending):
        pass
    committed = job.dataset.committed()
    for unit in pending:
        if unit not in committed:
            _narrow(job, unit)


def _gpus(job: Job) -> float:
    assert job.task.gpus, "this arm is about tasks that run models"
    return job.task.gpus


def _rows(job: Job, units: list[int]) -> Iterator[dict[str, Any]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    class Actor:
        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            make_unit(job, row["item"], Spent())
            return row

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)
        rows = ray.data.from_items(units, override_num_blocks=len(units))
        made = rows.map(
            Actor,
            num_cpus=1,
            num_gpus=_gpus(job),
            concurrency=(1, workers(job, len(units))),
            max_task_retries=UNIT_RETRIES,
        )
    yield from made.iter_rows()


def _narrow(job: Job, unit: int) -> None:
    """Make a unit again in a process of its own. Which item an attempt dies at was noted as well, by another actor."""
    attempts: Any = ray.remote(max_retries=0, num_gpus=_gpus(job))(_attempt)
    for _ in range(ITEM_DEATHS):
        try:
            ray.get(attempts.remote(job, unit))
            return
        except RayTaskError as error:
            raise RuntimeError(f"shard {job.plan.name(unit)}: {error.cause}") from error
        except RayError:  # the worker or its node died
            continue
    raise RuntimeError(f"shard {job.plan.name(unit)}: its worker died {ITEM_DEATHS} times")


def _attempt(job: Job, unit: int) -> None:
    make_unit(job, unit, Spent())
