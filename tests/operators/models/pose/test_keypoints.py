from __future__ import annotations

import math

import numpy as np
import pytest

from operators.models.pose.keypoints import NAMES, OPENPOSE, Keypoints, draw, scaled, similarity


def _standing() -> Keypoints:
    """A person who faces us: their left is on the right. 80 x 200 px."""
    places = {
        "nose": (100, 20),
        **{"left eye": (105, 16), "right eye": (95, 16), "left ear": (110, 18), "right ear": (90, 18)},
        **{"left shoulder": (130, 50), "right shoulder": (70, 50), "left elbow": (138, 85), "right elbow": (62, 85)},
        **{"left wrist": (140, 115), "right wrist": (60, 115), "left hip": (120, 115), "right hip": (80, 115)},
        **{"left knee": (122, 165), "right knee": (78, 165), "left ankle": (122, 216), "right ankle": (78, 216)},
    }
    return np.array([[*places[name], 1.0] for name in NAMES])


def test_similarity_is_cocos() -> None:
    wanted = _standing()
    assert similarity(wanted, wanted) == 1
    assert similarity(None, wanted) == 0
    moved = wanted.copy()
    moved[0, 0] += 5  # the nose, whose sigma is 0.026
    area = 0.53 * 80 * 200
    expected = (16 + math.exp(-25 / (2 * area * (2 * 0.026) ** 2))) / 17
    assert similarity(moved, wanted) == pytest.approx(expected)
    moved[11, 0] += 5  # a hip, of which nobody knows exactly where it is
    assert similarity(moved, wanted) == pytest.approx(expected, abs=0.01)


def test_what_is_hidden_does_not_count_and_what_is_not_found_counts_as_wrong() -> None:
    wanted, found = _standing(), _standing()
    wanted[13:, 2] = 0.1
    found[13:, :2] += 500
    assert similarity(found, wanted) == 1
    found[0, 2] = 0
    assert similarity(found, wanted) == pytest.approx(12 / 13)
    wanted[:, 2] = 0
    with pytest.raises(ValueError, match="without visible keypoints"):
        similarity(found, wanted)


def test_it_does_not_depend_on_the_size_of_the_image() -> None:
    wanted, found = _standing(), _standing()
    found[:, 0] += 6
    assert similarity(scaled(found, 3, 3), scaled(wanted, 3, 3)) == pytest.approx(similarity(found, wanted))
    assert scaled(wanted, 2, 0.5)[0].tolist() == [200, 10, 1]


def test_the_drawing_is_openposes() -> None:
    drawn = draw(_standing(), 240, 200)
    assert drawn.shape == (240, 200, 3)
    # Colours of keypoints 0 (nose), 1 (neck), 2 (right shoulder), 5 (left shoulder) and 13 (left ankle)
    for (x, y), colour in {
        (100, 20): (255, 0, 0),
        (100, 50): (255, 85, 0),
        (70, 50): (255, 170, 0),
        (130, 50): (85, 255, 0),
        (122, 216): (85, 0, 255),
    }.items():
        assert tuple(drawn[y, x]) == colour
    assert drawn[10, 10].sum() == 0
    hidden = _standing()
    hidden[5, 2] = 0.2  # a shoulder: its limbs go, and the neck with it
    assert draw(hidden, 240, 200)[50, 130].sum() == 0
    assert draw(hidden, 240, 200)[50, 100].sum() == 0
    assert sorted(OPENPOSE) == list(range(1, 17))
