"""What a run makes of the GPUs, nodes and CPUs that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.bench.paint_log import read_log
from infra.bench.sleeping import Nothing
from operators.word.instruct import Instruct
from pipelines.run import engine
from pipelines.run.plan import Job
from pipelines.run.watch import Watch
from pipelines.tasks.task import ONE, Task
from tests.datasets import plan_job
from tests.pipelines.hazards import Paints

GPUS = 8


@pytest.mark.usefixtures("gpu_ray")
@pytest.mark.parametrize(("units", "pairs"), [(GPUS, 2), (1, GPUS)], ids=["eight units", "one unit"])
def test_eight_gpus_are_used(units: int, pairs: int, tmp_path: Path) -> None:
    """Each painter waits with its first picture until all have begun one: were they fewer, none would end."""
    job = _job(tmp_path, units, pairs, together=GPUS)
    engine.run([job], Watch())
    assert len({one.gpu for one in read_log(str(tmp_path / "log"))}) == GPUS
    assert job.dataset.committed() == set(range(units))


def _job(tmp_path: Path, units: int, pairs: int, together: int) -> Job:
    painter = Paints(log=str(tmp_path / "log"), together=together)
    task = Task(name="painted", chain=(painter, Instruct(forward=("Go.",))), examples=ONE, pairs_per_shard=pairs)
    return plan_job(tmp_path / "out", None, task=task, reader=Nothing(count=units * pairs, with_input=True))
