"""Which steps are skipped, against numpy's median of the same losses, and when a run ends for it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from train.run.spikes import Diverged, Skips, SpikeRule

RULE = SpikeRule(deviations=6.0, window=16, most_in_row=3, most=5)


def test_a_spike_is_far_above_the_median_of_the_last_good_steps() -> None:
    losses = np.random.default_rng(0).normal(3.0, 0.1, 40)
    skips = Skips(RULE, {})
    for step, loss in enumerate(losses):
        last = losses[max(0, step - 16) : step]
        assert skips.wrong(loss + 5, 1.0) == "" or step >= 8
        if step >= 8:
            limit = np.median(last) + 6 * max(
                1.4826 * np.median(np.abs(last - np.median(last))), 0.01 * np.median(last)
            )
            assert skips.wrong(limit - 1e-6, 1.0) == ""
            assert "deviations above the last steps' median" in skips.wrong(limit + 1e-6, 1.0)
            assert skips.wrong(-100.0, 1.0) == ""
        skips.taken(loss)


def test_spikes_are_told_by_option_only_and_what_is_not_finite_always() -> None:
    skips = Skips(SpikeRule(deviations=0.0, window=2, most_in_row=3, most=5), {})
    for _ in range(4):
        skips.taken(1.0)
    assert skips.wrong(1e9, 1e9) == ""
    assert skips.wrong(1.0, math.nan) == "the gradient's norm is nan"
    assert skips.wrong(1.0, math.inf) == "the gradient's norm is inf"
    assert skips.wrong(math.nan, 1.0) == "the loss is nan"


def test_a_run_ends_after_so_many_in_a_row_or_in_all() -> None:
    skips = Skips(RULE, {})
    skips.skipped(1, "bad")
    skips.skipped(2, "bad")
    with pytest.raises(Diverged, match=r"^step 3: bad; 3 steps in a row were skipped.* or raise --max-skipped-in-row$"):
        skips.skipped(3, "bad")
    skips = Skips(RULE, {})
    for step in range(4):
        skips.skipped(step, "bad")
        skips.taken(1.0)
    assert (skips.count, skips.in_row) == (4, 0)
    with pytest.raises(Diverged, match=r"5 steps in all were skipped.* or raise --max-skipped$"):
        skips.skipped(9, "bad")


def test_what_a_checkpoint_keeps_goes_on_the_same() -> None:
    losses = np.random.default_rng(1).normal(2.0, 0.3, 60).tolist()
    skips = Skips(RULE, {})
    for step, loss in enumerate(losses):
        skips = Skips(RULE, json.loads(json.dumps(skips.state)))
        whole = Skips(RULE, {})
        for earlier in losses[:step]:
            whole.taken(earlier)
        assert skips.state == whole.state and skips.wrong(loss + 1, 1.0) == whole.wrong(loss + 1, 1.0)
        skips.taken(loss)


def test_a_run_that_skipped_every_step_ends_as_diverged() -> None:
    """However few its steps are: it has learned nothing, and its model is not to pass for a trained one."""
    skips = Skips(RULE, {})
    skips.skipped(1, "bad")
    skips.refuse_nothing_learned(2)
    with pytest.raises(Diverged, match=r"^all 1 steps of the run were skipped"):
        skips.refuse_nothing_learned(1)
