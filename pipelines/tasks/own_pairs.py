"""Pairs of a user's own, and of published datasets that need no task of their own: a map of columns is enough."""

from __future__ import annotations

from operators.judge.arity import Arity
from operators.judge.own_pairs import JudgeOwnPairs
from operators.word.instruct_source import GivenWords
from pipelines.sources import datasets
from pipelines.sources.edit_datasets import EDIT_DATASETS
from pipelines.tasks.task import ONE, Task

PAIRS = Task(
    # Beyond the paper. Which examples a pair has follows from the columns that there are. Published datasets come
    # first: they are told by all of their columns, and what a user says of columns leaves them out (Task.reading).
    name="pairs",
    prototype_task="pairs",
    sources=(*EDIT_DATASETS, datasets.OWN_PAIRS),
    chain=(
        JudgeOwnPairs(),
        GivenWords(),
        Arity(),
    ),
    examples=ONE,
)
