"""A run for Prometheus to look at: a model's stand-in paints on GPUs that are numbers, and dies once.

python -m tests.infra.monitoring.painting OUT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from infra.bench.sleeping import Nothing
from manifests.schema import Pair
from operators.account import open_account
from operators.word.instruct import Instruct
from pipelines.report.metrics import exported
from pipelines.run import engine
from pipelines.run.session import ray_session
from pipelines.run.watch import Watch
from pipelines.tasks.task import ONE, Task
from tests.datasets import plan_job
from tests.pipelines.hazards import Paints

PAIRS = 12


class Counted(Paints):
    """Counts its pictures, batches and loading, as operators with models do."""

    name: ClassVar[str] = "counted"

    def __call__(self, pair: Pair, seed: int) -> Pair:
        account = open_account()
        account.add_pictures(painted=1)
        account.add_batch(places=2, own=1)
        account.add_loading(0.25)
        return super().__call__(pair, seed)


def main(out: Path) -> None:
    """Make two units of six pairs on two GPUs. At one pair, painters die each time it is tried."""
    out.mkdir()
    os.environ["RAY_OVERRIDE_RESOURCES"] = '{"GPU": 2}'
    with ray_session(2):
        paints = Counted(log=str(out / "log"), picture_s=1.0, kills=("3",))
        chain = (paints, Instruct(forward=("Go.",)))
        task = Task(name="painted", chain=chain, pairs_per_shard=PAIRS // 2, examples=ONE)
        job = plan_job(out / "data", None, task=task, reader=Nothing(count=PAIRS, with_input=True))
        engine.run([job], exported(Watch(), {}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
