"""Rejects the pairs of context groups that are too small to give each other in-context examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from manifests.schema import Pair, Reject
from pipelines.run.chain import Rejected

SMALL_GROUP = "small_group"
"""The reason of these rejects."""


def without_small_groups(made: Sequence[Pair | Rejected], least: int) -> list[Pair | Rejected]:
    """What became of a unit's items, in order, with the pairs of context groups of fewer than `least` rejected."""
    sizes = Counter(one.context_group for one in made if isinstance(one, Pair))
    return [
        Rejected(step="group", reject=_reject(one, sizes[one.context_group], least))
        if isinstance(one, Pair) and sizes[one.context_group] < least
        else one
        for one in made
    ]


def _reject(pair: Pair, left: int, least: int) -> Reject:
    message = f"of the group {pair.context_group} {left} pairs are left, and an in-context example needs {least}"
    return Reject(SMALL_GROUP, message, pair.scores)
