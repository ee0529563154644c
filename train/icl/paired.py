"""Paired comparisons of two arms over the seeds that both have been run with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much more the first has than the second, seed by seed."""

    mean: float
    low: float
    high: float
    """Ends of the interval that covers the true mean with CONFIDENCE."""
    p: float
    """Two-sided, of the t-test on the differences."""
    wins: int
    seeds: int
    """Of so many seeds, the first has more in `wins`."""


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison | None:
    """The paired t-test; None with fewer than two seeds, or differences that are all the same."""
    differences = np.subtract(first, second)
    if len(differences) < 2 or not np.isfinite(differences).all() or not differences.std():
        return None
    found = stats.ttest_rel(first, second)
    interval = found.confidence_interval(CONFIDENCE)
    return Comparison(
        mean=float(differences.mean()),
        low=float(interval.low),
        high=float(interval.high),
        p=float(found.pvalue),
        wins=int((differences > 0).sum()),
        seeds=len(differences),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for being so many, by Holm's step-down method (1979), in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
