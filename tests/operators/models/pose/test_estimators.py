from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data

from manifests.schema import Reject
from operators.models.pose import estimators
from operators.models.pose.estimators import best_openpose, estimator
from operators.models.pose.keypoints import NAMES, VISIBLE
from tests.tiny import tiny_models


def test_blazepose_by_name() -> None:
    find = estimator("blazepose", f"{tiny_models('blazepose')}/blazepose")
    assert find(skimage.data.coffee()) is None
    found = find(skimage.data.astronaut())
    assert found is not None and found.shape == (17, 3)


def test_dwpose_by_name() -> None:
    find = estimator("dwpose", f"{tiny_models('dwpose')}/dwpose")
    assert find(np.full((64, 64, 3), 128, np.uint8)) is None
    found = find(skimage.data.astronaut())
    assert found is not None and found.shape == (17, 3)
    assert (found[:, 2] >= VISIBLE).sum() > 6


def test_openpose_by_name() -> None:
    """Networks of the published size on random weights, which find nobody: that they load and run is what is tested."""
    find = estimator("openpose", f"{tiny_models('openpose')}/openpose")
    assert find(skimage.data.astronaut()[::2, ::2]) is None


def test_where_openposes_maps_are_no_numbers_nobody_is_not_said_to_be_absent(request: pytest.FixtureRequest) -> None:
    folder = f"{tiny_models('openpose')}/openpose"
    request.addfinalizer(estimators._openpose.cache_clear)
    network = estimators._openpose(folder, "cpu").body_estimation.model
    [*network.parameters()][-1].data[0] = math.nan
    with pytest.raises(Reject, match="openpose gives what is no finite number") as reject:
        estimator("openpose", folder)(skimage.data.astronaut()[::4, ::4])
    assert reject.value.reason == "not_finite"


def test_openposes_best_person_in_cocos_order() -> None:
    """What controlnet_aux's OpenposeDetector.detect_poses gives: 18 points as shares of the sides, or None."""
    order = [
        *("nose", None, "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist"),
        *("right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle"),
        *("right eye", "left eye", "right ear", "left ear"),
    ]
    best = [_point(index / 20, 0.5) for index in range(18)]
    best[4] = None
    found = best_openpose([_person(best[::-1], 3.0), _person(best, 9.5)], np.zeros((100, 200, 3), np.uint8))
    assert found is not None
    for index, name in enumerate(order):
        if name is not None and index != 4:
            assert found[NAMES.index(name)].tolist() == [index / 20 * 200, 50, 1]
    assert found[NAMES.index("right wrist")].tolist() == [0, 0, 0]
    assert best_openpose([], np.zeros((100, 200, 3), np.uint8)) is None


def _point(x: float, y: float) -> Any:
    return SimpleNamespace(x=x, y=y)


def _person(points: list[Any], score: float) -> Any:
    return SimpleNamespace(body=SimpleNamespace(keypoints=points, total_score=score))
