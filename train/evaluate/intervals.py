"""Metrics over a test set with their confidence intervals: how far a figure would move had other images been drawn.

Every metric of the paper's tables is a ratio of sums over the images, or a mean of several such ratios: a mean counts
each image once, a mean angle counts its pixels, mIoU has a ratio for each class, GenEval one for each of its tasks.
So one percentile bootstrap serves all: images (of GenEval: prompts) are drawn with replacement, as many as there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARE = 0.95
"""How much of the resamples an interval holds."""

RESAMPLES = 2_000
"""Efron and Tibshirani (1993, section 13.3) take at least 1,000 for intervals of 95%."""

_SEED = 0
_DRAWS_AT_ONCE = 2**22  # 32 MiB of int64

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """What each image adds above and below the line of each of k ratios: [n, k] both. The metric is their mean."""

    above: NDArray[np.float64]
    below: NDArray[np.float64]

    @classmethod
    def mean(cls, values: Sequence[float]) -> Sums:
        """The mean of values, one an image, of which those that are NaN do not count."""
        column = np.array(values, np.float64).reshape(-1, 1)
        there = ~np.isnan(column)
        return cls(above=np.where(there, column, 0.0), below=there.astype(np.float64))

    def value(self) -> float:
        """The mean over the ratios that have anything below the line; NaN if none has."""
        return float(self._value_of(self.above.sum(0)[None], self.below.sum(0)[None])[0])

    def interval(self, strata: Sequence[int] | NDArray[np.int64] | None = None) -> Interval:
        """The ends of the percentile interval of `SHARE`, the same for the same sums; NaN if fewer than two images
        count, or there is no finite value.

        `strata` names a group for each image: from each as many are drawn as it has. None: all are one group.
        """
        if (self.below.sum(1) > 0).sum() < 2 or not math.isfinite(self.value()):
            return math.nan, math.nan
        groups = np.zeros(len(self.above), np.int64) if strata is None else np.array(strata)
        drawn = [
            self._value_of(counts @ self.above, counts @ self.below) for counts in _resampled(groups, _SEED, RESAMPLES)
        ]
        outside = (1 - SHARE) / 2
        low, high = np.nanquantile(np.concatenate(drawn), [outside, 1 - outside])
        return float(low), float(high)

    @staticmethod
    def _value_of(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
        """The metric of each row of sums, [m, k]; NaN where nothing is below the line."""
        there = below > 0
        ratios = np.divide(above, below, out=np.zeros_like(above), where=there)
        count = there.sum(1)
        means: NDArray[np.float64] = np.full(len(count), math.nan)
        np.divide(ratios.sum(1), count, out=means, where=count > 0)
        return means


def with_interval(value: float, interval: Interval, decimals: int) -> str:
    """A value with its interval as tables have it, 26.31 (25.90 to 26.80); without one where it is NaN."""
    ends = " to ".join(f"{end:.{decimals}f}" for end in interval)
    return f"{value:.{decimals}f}" + ("" if math.isnan(interval[0]) else f" ({ends})")


def _resampled(groups: NDArray[np.int64], seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each of n things comes in each resample, [m, n] at a time, `resamples` rows in all."""
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    most = max(1, _DRAWS_AT_ONCE // len(groups))
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        counts = np.zeros((rows, len(groups)))
        for places in members:
            drawn = random.integers(0, len(places), (rows, len(places))) + len(places) * np.arange(rows)[:, None]
            found = np.bincount(drawn.ravel(), minlength=rows * len(places))
            counts[:, places] = found.reshape(rows, len(places))
        yield counts
