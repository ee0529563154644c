from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from manifests.images.pixels import Pixels, stored
from manifests.schema import Pair, Reject
from operators.judge.gate import Gate
from tests.sources import encode, lossless, pair_of, photo, turned_jpeg


def test_a_good_pair_keeps_its_images_and_gets_the_score_of_its_difference() -> None:
    target = np.full((32, 40, 3), 100, np.uint8)
    pair = _pair(target + 51, target)
    kept = Gate()(pair, 0)
    assert kept.images == pair.images
    assert kept.scores == {"mean_abs_diff": 0.2}
    (step,) = kept.steps
    assert (step.operator, step.params) == ("gate", {"max_mean_abs_diff": 1.0})


def test_scores_of_earlier_operators_stay() -> None:
    pair = replace(_pair(photo(0) // 2, photo(0)), scores={"clip": 0.3})
    assert set(Gate()(pair, 0).scores) == {"clip", "mean_abs_diff"}


@pytest.mark.parametrize(("width_px", "height_px"), [(47, 40), (48, 41), (40, 48)])
def test_other_sizes_are_rejected_and_named(width_px: int, height_px: int) -> None:
    reject = _reject(Gate(), _pair(photo(0, width_px, height_px), photo(0)))
    assert reject.reason == "size_mismatch"
    assert reject.message == f"input {width_px} x {height_px} px, target 48 x 40 px"


def test_sizes_are_those_of_the_upright_images() -> None:
    """An input that EXIF turns by 90 degrees has its target's size, though its own pixels do not."""
    target = photo(0, 40, 24)
    turned = stored("input", turned_jpeg(np.ascontiguousarray(np.rot90(target)) // 2, 6))
    assert Gate()(pair_of(turned, lossless("target", target)), 0).scores["mean_abs_diff"] > 0.1


def test_identical_pixels_are_rejected_in_whatever_encoding() -> None:
    pixels = photo(0)
    files = [encode(pixels), encode(pixels, "WEBP", lossless=True), encode(pixels, "PNG", compress_level=1)]
    for data in files:
        reject = _reject(Gate(), pair_of(stored("input", data), stored("target", files[0])))
        assert (reject.reason, reject.scores) == ("identical_pair", {"mean_abs_diff": 0.0})


def test_one_changed_pixel_is_a_difference() -> None:
    pixels = photo(0)
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    assert Gate()(_pair(changed, pixels), 0).scores["mean_abs_diff"] < 1e-4


def test_the_upper_bound_rejects_with_its_score_and_is_itself_allowed() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    pair = _pair(black + 51, black)
    reject = _reject(Gate(max_mean_abs_diff=0.19), pair)
    assert (reject.reason, reject.scores) == ("unrelated", {"mean_abs_diff": 0.2})
    assert Gate(max_mean_abs_diff=0.21)(pair, 0).scores == {"mean_abs_diff": 0.2}


def test_the_most_different_images_pass_without_a_bound() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    assert Gate()(_pair(black + 255, black), 0).scores == {"mean_abs_diff": 1.0}


@pytest.mark.parametrize("role", ["input", "target"])
def test_a_cut_off_file_is_named_by_its_role(role: str) -> None:
    whole = {name: encode(photo(n, 200, 160), "JPEG") for n, name in enumerate(("input", "target"))}
    whole[role] = whole[role][: len(whole[role]) // 2]
    reject = _reject(Gate(), pair_of(*(stored(name, data) for name, data in whole.items())))
    assert reject.reason == "truncated"
    assert reject.message.startswith(f"{role}: ")


@pytest.mark.parametrize("side_px", [*range(1, 26), 63, 71, 257])
def test_a_jpeg_and_a_png_of_any_size_are_compared(side_px: int) -> None:
    """The two formats are reduced in different ways, which must agree on the reduced size."""
    before, after = photo(0, side_px, 20) // 2, photo(0, side_px, 20)
    pair = pair_of(stored("input", encode(before, "JPEG", quality=95)), lossless("target", after))
    expected = float(np.abs(before / 255.0 - after / 255.0).mean())
    assert Gate()(pair, 0).scores["mean_abs_diff"] == pytest.approx(expected, abs=0.05)


def _pair(before: Pixels, after: Pixels) -> Pair:
    return pair_of(lossless("input", before), lossless("target", after))


def _reject(gate: Gate, pair: Pair) -> Reject:
    with pytest.raises(Reject) as caught:
        gate(pair, 0)
    return caught.value
