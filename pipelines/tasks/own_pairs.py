"""Pairs of a user's own, and of published data sets that need no task of their own: a map of columns is enough."""

from __future__ import annotations

from operators.judge.arity import Arity
from operators.judge.own_pairs import JudgeOwnPairs
from operators.word.instruct_source import GivenWords
from pipelines.sources import datasets
from pipelines.tasks.task import ONE, Task

PAIRS = Task(
    # Beyond the paper. Which examples a pair has follows from the columns that there are.
    name="pairs",
    prototype_task="pairs",
    sources=(datasets.OWN_PAIRS,),
    chain=(
        JudgeOwnPairs(),
        GivenWords(),
        Arity(),
    ),
    examples=ONE,
)
