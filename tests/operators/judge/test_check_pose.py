from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from manifests.images.pixels import Pixels
from manifests.schema import Pair, Reject
from operators.judge.check_pose import CheckPose
from operators.paint.estimate_pose import EstimatePose
from tests.sources import lossless, pair_of
from tests.tiny import tiny_models


@pytest.fixture(scope="module")
def before() -> Pair:
    return EstimatePose().bound(tiny_models("blazepose"))(pair_of(lossless("input", skimage.data.astronaut())), 1)


def test_the_same_pose_at_another_size_passes(before: Pair) -> None:
    """A person in the same pose: the same one, in other colours and smaller."""
    other = cv2.resize(255 - skimage.data.astronaut()[:, :, ::-1] // 2, (384, 384), interpolation=cv2.INTER_AREA)
    pair = _check(before, other)
    assert 0.5 <= pair.scores["oks"] <= 1
    assert pair.steps[-1].params == {"estimator": "blazepose", "min_oks": 0.5}
    assert pair.steps[-1].model == "blazepose"
    assert pair.scores["pose_keypoints"]


def test_another_pose_and_nobody_are_rejected_with_their_score(before: Pair) -> None:
    mirrored = np.ascontiguousarray(skimage.data.astronaut()[:, ::-1])
    with pytest.raises(Reject, match="similarity of the poses") as reject:
        _check(before, mirrored)
    assert reject.value.reason == "other_pose"
    assert 0 < reject.value.scores["oks"] < 0.5
    with pytest.raises(Reject) as reject:
        _check(before, skimage.data.coffee())
    assert (reject.value.reason, reject.value.scores) == ("nobody_made", {"oks": 0})


def test_by_another_estimator() -> None:
    models, photo = tiny_models("dwpose"), skimage.data.astronaut()
    before = EstimatePose(estimator="dwpose").bound(models)(pair_of(lossless("input", photo)), 1)
    after = replace(before, images=(*before.images, lossless("target", photo)))
    pair = CheckPose(estimator="dwpose").bound(models)(after, 1)
    assert pair.scores["oks"] == 1
    for step in pair.steps:
        assert (step.params["estimator"], step.model) == ("dwpose", "dwpose")
        assert step.model_revision


def _check(before: Pair, made: Pixels) -> Pair:
    pair = replace(before, images=(*before.images, lossless("target", made)))
    return CheckPose().bound(tiny_models("blazepose"))(pair, 1)
