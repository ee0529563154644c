from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject
from operators.arrange.holes import HOLE, Imitate, matches
from operators.base import Judge
from tests.sources import lossless, pair_of, photo


def test_holes_are_cells_and_the_rest_of_the_photo_stays() -> None:
    target = photo(2, 200, 150)
    pair = Imitate()(pair_of(lossless("target", target)), 5)
    source, mask = _pixels(pair, "input"), _pixels(pair, "mask")
    assert np.array_equal(source[mask == 0], target[mask == 0])
    assert (source[mask == 255] == HOLE).all()
    assert set(np.unique(mask)) == {0, 255}
    cells = pair.steps[-1].params["cells"]
    rows, columns = np.arange(150) * cells // 150, np.arange(200) * cells // 200
    for row in range(cells):
        for column in range(cells):
            assert len(np.unique(mask[rows == row][:, columns == column])) == 1
    assert Imitate()(pair_of(lossless("target", target)), 5) == pair
    assert Imitate()(pair_of(lossless("target", target)), 6).images != pair.images


def test_cells_that_match_the_reference_are_holes_more_often() -> None:
    """The left half of the photo has features, the right half has none."""
    target = np.full((240, 240, 3), 100, np.uint8)
    target[:, :120] = skimage.data.astronaut()[20:260, 150:270]
    shares = []
    for seed in range(40):
        hole = _pixels(Imitate(cells=(6, 6))(pair_of(lossless("target", target)), seed), "mask")[..., 0] == 255
        shares.append((hole[:, :120].mean(), hole[:, 120:].mean()))
    left, right = np.mean(shares, axis=0)
    assert right == pytest.approx(0.5, abs=0.06)
    assert left > right + 0.1


def test_the_reference_is_another_view_of_the_same() -> None:
    target = skimage.data.astronaut()[20:320, 120:420]
    found = 0
    for seed in range(6):
        pair = Imitate()(pair_of(lossless("target", target)), seed)
        reference = _pixels(pair, "reference")
        assert reference.shape == target.shape
        difference = np.abs(reference.astype(float) - target).mean()
        assert 5 < difference < 100
        if not pair.steps[-1].params["flipped"]:  # SIFT does not see through a mirror
            assert len(matches(target, reference)) > 20
            found += 1
    assert 0 < found < 6


def test_a_frame_of_the_same_clip_is_taken_as_it_is() -> None:
    whole = skimage.data.astronaut()
    target, frame = whole[20:320, 120:420], whole[26:326, 128:428]
    given = pair_of(lossless("target", target), lossless("reference", frame))
    pair = Imitate()(given, 5)
    assert pair.image("reference") == given.image("reference")
    assert 0.05 <= pair.scores["frame_ssim"] <= 0.95
    same = replace(given, images=(given.images[0], lossless("reference", target)))
    noise = np.random.default_rng(0).integers(0, 255, target.shape, np.uint8)
    other = replace(given, images=(given.images[0], lossless("reference", noise)))
    for bad, reason in ((same, "too_alike"), (other, "unrelated")):
        with pytest.raises(Reject) as reject:
            Imitate()(bad, 5)
        assert reject.value.reason == reason
        assert set(reject.value.scores) == {"frame_ssim"}
        lenient = Imitate().lenient()
        assert isinstance(lenient, Judge)
        kept = lenient(bad, 5)
        assert kept.scores == reject.value.scores and kept.image("input")


def test_a_small_photo_is_rejected_and_a_plain_one_is_not() -> None:
    with pytest.raises(Reject, match="under 32"):
        Imitate()(pair_of(lossless("target", photo(0, 40, 30))), 1)
    plain = np.full((64, 64, 3), 90, np.uint8)
    pair = Imitate()(pair_of(lossless("target", plain)), 1)
    assert 0 < (_pixels(pair, "mask") == 255).mean() < 1
    assert matches(plain, cv2.GaussianBlur(plain, (3, 3), 0)) == []


def _pixels(pair: Pair, role: str) -> Pixels:
    image = pair.image(role)
    assert image
    return decode_rgb(image.data)
