"""Own pairs are measured, and rejected for what they measure only where a user asks for it."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from manifests.schema import Pair, Reject
from operators.judge.own_pairs import JudgeOwnPairs
from tests.sources import lossless, pair_of

COFFEE, CAT = skimage.data.coffee()[:256, :320], skimage.data.chelsea()[:256, :320]


def pair(before: np.ndarray, after: np.ndarray) -> Pair:
    return pair_of(lossless("input", before), lossless("input_2", CAT), lossless("target", after))


def reason(judge: JudgeOwnPairs, before: np.ndarray, after: np.ndarray) -> str:
    with pytest.raises(Reject) as rejected:
        judge(pair(before, after), 0)
    return rejected.value.reason


def test_another_scene_is_kept_with_its_scores_and_rejected_where_that_is_asked_for() -> None:
    same, other = (JudgeOwnPairs()(pair(COFFEE, after), 0) for after in (COFFEE // 2, CAT))
    for kept in (same, other):
        assert kept.scores.keys() == {"mean_abs_diff", "visible_change", "alignment"}
        assert [step.operator for step in kept.steps] == ["gate", "degraded"]
    assert same.scores["alignment"] > 0.9 and abs(other.scores["alignment"]) < 0.15
    assert same.scores["mean_abs_diff"] == pytest.approx(COFFEE.mean() / 2 / 255, abs=0.005)
    asked = JudgeOwnPairs(min_alignment=0.15)
    assert asked(pair(COFFEE, COFFEE // 2), 0).scores == same.scores
    assert reason(asked, COFFEE, CAT) == "other_scene"
    assert asked.lenient() == JudgeOwnPairs()


def test_a_small_edit_is_kept_and_no_edit_is_not() -> None:
    edited = COFFEE.copy()
    edited[100:110, 100:110] ^= 16
    kept = JudgeOwnPairs()(pair(COFFEE, edited), 0)
    assert 0 < kept.scores["visible_change"] < 0.25  # which a degradation would be rejected for
    assert reason(JudgeOwnPairs(), COFFEE, COFFEE) == "identical_pair"


def test_the_wrong_way_round_is_told_by_the_degradation_that_a_user_names() -> None:
    judge = JudgeOwnPairs(degraded="darkness")
    assert judge(pair(COFFEE // 4, COFFEE), 0).scores["direction"] > 0
    assert reason(judge, COFFEE, COFFEE // 4) == "swapped"
    assert JudgeOwnPairs()(pair(COFFEE, COFFEE // 4), 0)


def test_sizes_may_differ_unless_structures_are_to_be_compared() -> None:
    given = pair(COFFEE, CAT[:200])
    assert JudgeOwnPairs()(given, 0) == given
    for judge in (JudgeOwnPairs(min_alignment=0.0), JudgeOwnPairs(degraded="rain")):
        assert reason(judge, COFFEE, CAT[:200]) == "size_mismatch"
