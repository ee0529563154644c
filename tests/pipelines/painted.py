"""A task of a user's file whose model is none, so that whole runs of it are quick; its log is PAINT_LOG."""

from __future__ import annotations

import os

from operators.word.instruct import Instruct
from pipelines.sources import datasets
from pipelines.tasks.task import ONE, Task
from tests.pipelines.hazards import Paints


def painted_task(log: str) -> Task:
    """Photos whose inputs are painted, 0.3 s each, in shards of eight."""
    painter = Paints(role="input", log=log, picture_s=0.3)
    chain = (painter, Instruct(forward=("Go.",)))
    return Task(name="painted", sources=(datasets.PHOTOS,), chain=chain, examples=ONE, pairs_per_shard=8)


TASK = painted_task(os.environ.get("PAINT_LOG", ""))
