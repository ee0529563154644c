"""The three questions of the gate, each against a computation of its own; how often it errs: tests/infra/bench."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage
from scipy.ndimage import gaussian_filter, uniform_filter1d
from sklearn.datasets import load_sample_image

from manifests.images.pixels import Pixels, remembering, stored
from manifests.schema import Image, Pair, Reject
from operators.judge.degraded import Degradation, Degraded
from pipelines.tasks.catalogue import OUR_TASKS
from tests.sources import encode, lossless, pair_of, photo

COFFEE, CAT = skimage.data.coffee()[:256, :320], skimage.data.chelsea()[:256, :320]


def test_a_good_pair_keeps_its_images_and_gets_three_scores() -> None:
    pair = _pair(COFFEE // 4, COFFEE)
    kept = Degraded(by="darkness")(pair, 0)
    assert kept.images == pair.images
    assert kept.scores.keys() == {"visible_change", "alignment", "direction"}
    assert kept.scores["alignment"] > 0.9
    (step,) = kept.steps
    assert (step.operator, step.params) == (
        "degraded",
        {"by": "darkness", "min_visible": 0.25, "min_alignment": 0.15},
    )


def test_the_visible_change_is_that_of_the_published_model() -> None:
    """Chou and Li: 20 levels over black, 3 over 127, 6 over white, and 17 (1 - sqrt(bg / 127)) + 3 in the dark."""
    for level, change, expected in (
        (0, 20, 1.0),
        (127, 3, 1.0),
        (255, -6, 1.0),
        (32, 7, 7 / (17 * (1 - (32 / 127) ** 0.5) + 3)),
        (191, 9, 9 / (3 * 64 / 128 + 3)),
    ):
        target = np.full((256, 256, 3), level, np.uint8)
        kept = Degraded()(_pair((target.astype(int) + change).astype(np.uint8), target), 0)
        assert kept.scores == {"visible_change": pytest.approx(expected, abs=1e-6)}, "a plain target has no structure"


@pytest.mark.parametrize("side_px", [100, 256, 520])
def test_the_visible_change_of_noise_is_its_share_of_the_threshold(side_px: int) -> None:
    """Over mid-gray; averages of 8 x 8 would see an eighth of it."""
    target = np.full((side_px, side_px, 3), 127, np.uint8)
    noise = np.random.default_rng(0).normal(0, 6, target.shape)
    scores = Degraded()(_pair((target + noise).round().astype(np.uint8), target), 0).scores
    assert scores["visible_change"] == pytest.approx(6 / 3, rel=0.05)


@pytest.mark.parametrize("sigma", [0.21, 0.5])
def test_noise_that_is_not_seen_is_rejected_with_its_score(sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0, sigma, COFFEE.shape)
    reject = _reject("noise", (COFFEE + noise).round().clip(0, 255).astype(np.uint8), COFFEE)
    assert reject.reason == "no_visible_change"
    assert reject.scores["visible_change"] < 0.25


def test_a_few_strong_strokes_are_seen() -> None:
    """A hundredth of the picture is white: the mean difference is that of noise that is not seen."""
    before = COFFEE.copy()
    before[:, ::100] = 255
    assert Degraded(by="rain")(_pair(before, COFFEE), 0).scores["visible_change"] > 1


@pytest.mark.parametrize("order", ["jpeg and jpeg", "jpeg and png", "png and jpeg"])
def test_of_jpeg_files_noise_is_seen_as_well_though_they_are_read_at_an_eighth(order: str) -> None:
    target = cv2.GaussianBlur(skimage.data.astronaut(), (0, 0), 3)
    noisy = (target + np.random.default_rng(0).normal(0, 4, target.shape)).round().clip(0, 255).astype(np.uint8)
    kinds = dict(zip(("input", "target"), order.split(" and "), strict=True))
    images = [_stored(role, pixels, kinds[role]) for role, pixels in (("input", noisy), ("target", target))]
    with remembering():
        scores = Degraded(by="noise")(pair_of(*images), 0).scores
    assert 0.4 < scores["visible_change"] < 1.6  # JPEG keeps some of the noise, and 4 levels are 0.2 to 1.3 thresholds
    assert scores["direction"] > 0.1


def _structure(pixels: Pixels) -> np.ndarray:
    """Luma of 16 x 16 px relative to its surroundings, by Pillow, NumPy and SciPy."""
    eighth = np.asarray(PILImage.fromarray(pixels).reduce(8), np.float64)
    luma = np.average(eighth, axis=2, weights=(0.299, 0.587, 0.114))
    grid = luma.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    detail = grid - gaussian_filter(grid, 3, mode="reflect")
    return np.asarray(detail / np.sqrt(gaussian_filter(detail**2, 3, mode="reflect") + 1))


@pytest.mark.parametrize("other", [True, False])
def test_the_alignment_is_the_correlation_of_locally_normalised_luma(other: bool) -> None:
    target = skimage.data.astronaut()
    before = cv2.resize(skimage.data.coffee(), (512, 512)) if other else np.roll(target, 5, axis=0) // 3
    expected = np.corrcoef(_structure(before).ravel(), _structure(target).ravel())[0, 1]
    kept = Degraded(min_alignment=-1)(_pair(before, target), 0)
    assert kept.scores["alignment"] == pytest.approx(expected, abs=1e-5)
    assert bool(expected < 0.15) is other


@pytest.mark.parametrize(("width_px", "height_px"), [(192, 128), (320, 256), (64, 80), (600, 400)])
def test_a_dark_photo_of_another_scene_is_rejected(width_px: int, height_px: int) -> None:
    """RetinexNet's issue 9: two of LOL's pairs show different scenes."""
    coffee, cat = (cv2.resize(one, (width_px, height_px), interpolation=cv2.INTER_AREA) for one in (COFFEE, CAT))
    reject = _reject("darkness", coffee // 6, cat)
    assert reject.reason == "other_scene"
    assert reject.scores["alignment"] < 0.15
    for one in (coffee, cat):
        assert Degraded(by="darkness")(_pair(one // 6, one), 0).scores["alignment"] > 0.5


@pytest.mark.parametrize("way", ["mirrored", "upside down", "turned by 180", "turned by 90", "transposed"])
def test_a_mirrored_or_turned_target_is_rejected_though_some_of_it_fits(way: str) -> None:
    """Coins lie in rows, a flower is round: their structures correlate with those of the same picture turned."""
    for photo_ in (skimage.data.coins()[:256, :256], np.asarray(load_sample_image("flower.jpg"))[:400, 120:520]):
        target = np.ascontiguousarray(np.dstack([photo_] * 3) if photo_.ndim == 2 else photo_)
        turned = {
            "mirrored": target[:, ::-1],
            "upside down": target[::-1],
            "turned by 180": target[::-1, ::-1],
            "turned by 90": np.rot90(target),
            "transposed": target.swapaxes(0, 1),
        }[way]
        before = np.ascontiguousarray(turned) // 4
        assert Degraded(by="darkness")(_pair(target // 4, target), 0).scores["alignment"] > 0.9
        as_it_is = Degraded(min_alignment=-1)(_pair(before, target), 0).scores["alignment"]
        assert _reject("darkness", before, target).reason == ("turned" if as_it_is >= 0.15 else "other_scene")


def test_a_flat_input_is_no_picture_of_its_target() -> None:
    for level in (0, 255):
        assert _reject("darkness", np.full_like(COFFEE, level), COFFEE).reason == "other_scene"


def _noise(pixels: Pixels) -> Pixels:
    return (pixels + np.random.default_rng(0).normal(0, 12, pixels.shape)).round().clip(0, 255).astype(np.uint8)


def _streaks(pixels: Pixels) -> Pixels:
    random, wet = np.random.default_rng(0), pixels.copy()
    for top, left in zip(random.integers(0, len(wet) - 24, 250), random.integers(0, wet.shape[1], 250), strict=True):
        wet[top : top + 24, left] = np.maximum(wet[top : top + 24, left], 235)
    return wet


WORSE: dict[Degradation, Callable[[Pixels], Pixels]] = {
    "noise": _noise,
    "blur": lambda pixels: uniform_filter1d(pixels, 11, axis=1),
    "rain": _streaks,
    "darkness": lambda pixels: pixels // 3,
    "flatness": lambda pixels: (pixels * 0.6 + 20).astype(np.uint8),
}


@pytest.mark.parametrize("by", WORSE)
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_exchanged_sides_are_rejected(by: Degradation, kind: str) -> None:
    for pixels in (COFFEE, skimage.data.astronaut()):
        worse = WORSE[by](pixels)
        before, after = (_stored("input", one, kind) for one in (worse, pixels))
        kept = Degraded(by=by)(pair_of(before, _stored("target", pixels, kind)), 0)
        assert kept.scores["direction"] > 0
        reject = _rejected(Degraded(by=by), pair_of(after, _stored("target", worse, kind)))
        assert (reject.reason, reject.scores["direction"] < 0) == ("swapped", True)


def test_a_darker_input_is_not_called_rain_the_wrong_way_round() -> None:
    """A whole that is darker has no streaks: which side has the rain cannot be told."""
    assert Degraded(by="rain")(_pair(COFFEE // 2, COFFEE), 0).scores["direction"] == 0


def test_a_retoucher_may_darken_or_mute() -> None:
    """Only a target that is darker, flatter and duller at once is taken for the unretouched one."""
    darker = (COFFEE * 0.6).round().astype(np.uint8)
    gray = np.repeat(COFFEE.mean(axis=2, keepdims=True), 3, axis=2).round().astype(np.uint8)
    for target in (darker, gray):
        assert Degraded(by="flatness")(_pair(COFFEE, target), 0).scores["direction"] >= -0.1


@pytest.mark.parametrize(("width_px", "height_px"), [(1, 1), (1, 40), (3, 3), (7, 9), (8, 8), (257, 5)])
def test_the_smallest_images_can_be_judged(width_px: int, height_px: int) -> None:
    target = photo(0, 257, 40)[:height_px, :width_px]
    assert Degraded(by="darkness", min_alignment=-1)(_pair(target // 4, target), 0).scores["visible_change"] > 1


def test_each_restoration_task_knows_what_its_input_suffers_from() -> None:
    expected = {
        "denoise": "noise",
        "deblur": "blur",
        "derain": "rain",
        "retouch": "flatness",
        "lowlight": "darkness",
    }
    found = {name: link.by for name, task in OUR_TASKS.items() for link in task.chain if isinstance(link, Degraded)}
    assert found == expected


def _pair(before: Pixels, after: Pixels) -> Pair:
    return pair_of(lossless("input", before), lossless("target", np.ascontiguousarray(after)))


def _stored(role: str, pixels: Pixels, kind: str) -> Image:
    return stored(role, encode(pixels, "JPEG", quality=95)) if kind == "jpeg" else lossless(role, pixels)


def _reject(by: Degradation, before: Pixels, after: Pixels) -> Reject:
    return _rejected(Degraded(by=by), _pair(before, after))


def _rejected(operator: Degraded, pair: Pair) -> Reject:
    with pytest.raises(Reject) as caught:
        operator(pair, 0)
    return caught.value
