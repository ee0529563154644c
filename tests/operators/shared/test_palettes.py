from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manifests.images.pixels import Pixels
from operators.shared.ade20k import CLASSES
from operators.shared.palettes import (
    DEPTH_PALETTES,
    MAX_DEPTH_M,
    _depth_colours,
    decode_depth,
    decode_labels,
    decode_normals,
    encode_depth,
    encode_labels,
    encode_nearness,
    encode_normals,
)

IDS: Pixels = np.arange(151, dtype=np.uint8)[None]


@pytest.mark.parametrize("palette", DEPTH_PALETTES)
def test_depth_comes_back_within_half_a_step(palette: str) -> None:
    depth_m = np.linspace(1e-4, MAX_DEPTH_M, 20_000, dtype=np.float32).reshape(100, 200)
    error_m = np.abs(decode_depth(encode_depth(depth_m, palette), palette) - depth_m)
    assert 0.0035 < error_m.max() <= MAX_DEPTH_M / 1275 / 2 + 1e-6  # 3.9 mm


@pytest.mark.parametrize("palette", DEPTH_PALETTES)
def test_what_has_no_depth_is_black_and_comes_back_as_nan(palette: str) -> None:
    without = np.array([[np.nan, np.inf, -np.inf, 0, -0.0, -1, np.nextafter(np.float32(10), np.float32(11)), 65]])
    pixels = encode_depth(without.astype(np.float32), palette)
    assert not pixels.any()
    assert np.isnan(decode_depth(pixels, palette)).all()
    ends = encode_depth(np.array([[1e-6, MAX_DEPTH_M]], np.float32), palette)
    assert ends.any(-1).all()
    assert decode_depth(ends, palette) == pytest.approx(np.array([[0, MAX_DEPTH_M]]))


def test_depth_without_metres_goes_the_same_path_from_the_nearest_to_the_farthest() -> None:
    """By hand: red, green and violet are the steps 0, 510 and 1,275 of the rainbow."""
    nearness = np.array([[1, 1 - 510 / 1275, 0]])
    assert encode_nearness(nearness).tolist() == [[[255, 0, 0], [0, 255, 0], [255, 0, 255]]]
    assert encode_nearness(nearness[:, [0, 2]], "unseen").tolist() == [[[255, 0, 0], [255, 0, 255]]]


@pytest.mark.parametrize("palette", DEPTH_PALETTES)
def test_a_palette_has_no_colour_twice_and_no_black(palette: str) -> None:
    colours = _depth_colours(palette)
    assert colours.shape == (1_276, 3)
    assert len(np.unique(colours, axis=0)) == len(colours)
    assert (colours.max(axis=1) >= 127).all()
    steps = np.abs(np.diff(colours.astype(int), axis=0))
    assert steps.max() == 1 and steps.any(axis=1).all()


@pytest.mark.parametrize("palette", DEPTH_PALETTES)
def test_imperfect_colours_come_back_near_their_depth(palette: str) -> None:
    """Also at both ends: were they neighbours, as on a colour wheel, near would come back as far."""
    random = np.random.default_rng(0)
    depth_m = random.uniform(0.01, MAX_DEPTH_M, (60, 60)).astype(np.float32)
    noise = random.integers(-8, 9, (60, 60, 3))
    perturbed = (encode_depth(depth_m, palette) + noise).clip(0, 255).astype(np.uint8)
    error_m = np.abs(decode_depth(perturbed, palette) - depth_m)
    assert error_m.max() <= 0.31  # 40 steps, which is two sides of a corner


def test_the_unseen_palette_shares_the_corners_where_it_crosses_the_rainbow_alone() -> None:
    rainbow, unseen = ({tuple(colour.tolist()) for colour in _depth_colours(palette)} for palette in DEPTH_PALETTES)
    assert rainbow & unseen == {(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)}
    depth_m = np.linspace(0.7, 9.5, 400, dtype=np.float32)[None]  # the range of NYU-v2's depths
    apart = encode_depth(depth_m, "rainbow").astype(int) - encode_depth(depth_m, "unseen")
    assert np.abs(apart).max(-1).min() > 30  # no depth looks the same in both


def test_normals_come_back_within_the_stated_angle() -> None:
    normals = _unit(np.random.default_rng(0).standard_normal((200, 200, 3)))
    normals[0, :6] = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    pixels = encode_normals(normals)
    back = decode_normals(pixels)
    assert pixels.any(-1).all()
    assert np.linalg.norm(back, axis=-1) == pytest.approx(np.ones((200, 200)), abs=1e-5)
    cosine = (back.astype(np.float64) * normals).sum(-1)
    assert np.rad2deg(np.arccos(cosine.clip(-1, 1))).max() <= 0.4


def test_what_has_no_normal_is_black_and_comes_back_as_nan() -> None:
    normals = np.array([[(np.nan, 0, 1), (0, np.inf, 0), (np.nan,) * 3, (0, 0, 1)]], np.float32)
    pixels = encode_normals(normals)
    assert pixels.any(-1).tolist() == [[False, False, False, True]]
    assert np.isnan(decode_normals(pixels)).all(-1).tolist() == [[True, True, True, False]]


def test_every_class_comes_back_and_other_is_black() -> None:
    colours = encode_labels(IDS)
    assert np.array_equal(decode_labels(colours), IDS)
    assert colours[0].tolist() == [[0, 0, 0], *(rgb for _, *rgb in CLASSES)]
    assert len(np.unique(colours[0], axis=0)) == 151


@pytest.mark.parametrize("wrong", [151, 255])
def test_a_class_that_ade20k_does_not_have_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"^class id {wrong} is not one of ADE20K's 0\.\.150$"):
        encode_labels(np.array([[0, wrong]], np.uint8))


def test_imperfect_colours_come_back_as_the_nearest_class() -> None:
    """Where the nearest other class is far enough that there is no doubt."""
    colours = encode_labels(IDS)[0].astype(int)
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 1e3 * np.eye(151)
    clear = np.flatnonzero(distances.min(axis=1) > 2 * 2 * 3**0.5)
    assert len(clear) > 80
    noise = np.random.default_rng(0).integers(-2, 3, (50, len(clear), 3))
    perturbed = (colours[clear][None] + noise).clip(0, 255).astype(np.uint8)
    assert np.array_equal(decode_labels(perturbed), np.broadcast_to(clear, (50, len(clear))))


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)
