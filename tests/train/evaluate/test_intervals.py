"""Intervals against SciPy's bootstrap, and against those that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from train.evaluate.intervals import RESAMPLES, SHARE, Sums

RANDOM = np.random.default_rng(0)


def test_an_interval_of_a_mean_is_scipys() -> None:
    values = RANDOM.gamma(2.0, 3.0, 60)
    theirs = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=1).confidence_interval
    low, high = Sums.mean(values.tolist()).interval()
    # The ends of two bootstraps of 2,000 differ by some percent of the interval's width.
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low))
    assert low < values.mean() < high
    assert Sums.mean(values.tolist()).interval() == (low, high)


def test_an_interval_of_a_ratio_is_scipys() -> None:
    """Of pixels that are right among those that count, which differ from image to image."""
    pixels = RANDOM.integers(100, 2_000, 50).astype(float)
    right = np.floor(pixels * RANDOM.uniform(0.2, 0.9, 50))
    theirs = bootstrap(
        (right, pixels),
        lambda above, below, axis: above.sum(axis) / below.sum(axis),
        paired=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=1,
    ).confidence_interval
    sums = Sums(above=right[:, None], below=pixels[:, None])
    assert sums.value() == pytest.approx(right.sum() / pixels.sum())
    assert sums.interval() == pytest.approx((theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low))


def test_an_interval_of_many_is_that_of_the_normal_distribution() -> None:
    values = RANDOM.normal(20, 4, 3_000)  # more than are drawn at once
    error = values.std() / math.sqrt(len(values))
    low, high = Sums.mean(values.tolist()).interval()
    assert (low, high) == pytest.approx(norm.interval(SHARE, values.mean(), error), abs=0.15 * error)


def test_small_sets_by_hand() -> None:
    assert Sums.mean([0.0, 1.0]).interval() == (0.0, 1.0)  # each in a quarter of the resamples
    assert Sums.mean([5.0, 5.0]).interval() == (5.0, 5.0)
    # Two groups of two alike: drawn from all of them the mean varies, drawn from each group it does not.
    groups = [0, 0, 1, 1]
    assert Sums.mean([0.0, 0.0, 1.0, 1.0]).interval(groups) == (0.5, 0.5)
    assert Sums.mean([0.0, 0.0, 1.0, 1.0]).interval() != (0.5, 0.5)


def test_what_has_no_value_does_not_count() -> None:
    assert Sums.mean([1.0, math.nan, 3.0]).value() == 2.0
    assert math.isnan(Sums.mean([math.nan]).value()) and math.isnan(Sums.mean([]).value())
    assert all(map(math.isnan, Sums.mean([5.0, math.nan]).interval())), "of one image"
    sums = Sums.mean([math.inf, 1.0])
    assert sums.value() == math.inf and all(map(math.isnan, sums.interval()))
    # The third ratio has nothing below the line.
    above, below = np.array([[1.0, 2.0, 0.0]]), np.array([[2.0, 2.0, 0.0]])
    assert Sums(above=above, below=below).value() == 0.75
