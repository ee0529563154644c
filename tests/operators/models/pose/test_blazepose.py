from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.models.pose import blazepose
from operators.models.pose.blazepose import find_person
from operators.models.pose.keypoints import NAMES, VISIBLE, Keypoints
from tests.tiny import tiny_models


@pytest.fixture(scope="module")
def folder() -> str:
    return f"{tiny_models('blazepose')}/blazepose"


def test_it_finds_the_astronaut(folder: str) -> None:
    """Real weights on a real photo. Places were read off the photo by eye; the face is 100 px wide."""
    found = find_person(folder, skimage.data.astronaut())
    assert found is not None
    for name, x_px, y_px, within_px in (
        ("nose", 222, 118, 20),
        ("left eye", 243, 97, 20),
        ("right eye", 202, 98, 20),
        ("left shoulder", 330, 235, 40),
        ("right shoulder", 115, 220, 40),
    ):
        x, y, confidence = found[NAMES.index(name)]
        assert np.hypot(x - x_px, y - y_px) < within_px, name
        assert confidence > 0.9
    for name in ("left knee", "right knee", "left ankle", "right ankle"):  # below the photo's edge
        assert found[NAMES.index(name), 2] == 0


def test_it_finds_the_same_in_a_mirrored_turned_smaller_or_padded_photo(folder: str) -> None:
    photo: Pixels = skimage.data.astronaut()
    found = _face_and_shoulders(find_person(folder, photo))
    mirrored = _face_and_shoulders(find_person(folder, np.ascontiguousarray(photo[:, ::-1])))
    swapped = [0, 2, 1, 4, 3, 6, 5]  # what was left is right
    assert np.abs(mirrored[swapped] * [-1, 1] + [511, 0] - found).max() < 25
    small = _face_and_shoulders(find_person(folder, cv2.resize(photo, (200, 200), interpolation=cv2.INTER_AREA)))
    assert np.abs(small * 512 / 200 - found).max() < 25
    wide = np.zeros((512, 900, 3), np.uint8)
    wide[:, 300:812] = photo
    assert np.abs(_face_and_shoulders(find_person(folder, wide)) - [300, 0] - found).max() < 40
    turn = cv2.getRotationMatrix2D((256, 256), 25, 1)
    turned = _face_and_shoulders(find_person(folder, cv2.warpAffine(photo, turn, (512, 512))))
    assert np.abs(turned - (found @ turn[:, :2].T + turn[:, 2])).max() < 40


@pytest.mark.parametrize("name", ["coffee", "chelsea", "noise", "black"])
def test_it_finds_nobody_where_nobody_is(name: str, folder: str) -> None:
    pictures = {
        "noise": lambda: np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8),
        "black": lambda: np.zeros((64, 64, 3), np.uint8),
    }
    picture = pictures.get(name) or getattr(skimage.data, name)
    assert find_person(folder, picture()) is None


def test_where_a_network_gives_no_numbers_nobody_is_not_said_to_be_absent(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteRT itself is given a picture of no numbers."""
    monkeypatch.setattr(blazepose, "_seen", lambda *_: np.full((1, 224, 224, 3), np.nan, np.float32))
    with pytest.raises(Reject, match="blazepose gives what is no finite number") as reject:
        find_person(folder, skimage.data.astronaut())
    assert reject.value.reason == "not_finite"


def _face_and_shoulders(found: Keypoints | None) -> Keypoints:
    assert found is not None
    assert (found[:7, 2] > VISIBLE).all()
    return found[:7, :2]
