from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from manifests.images.pixels import Pixels, decode_rgb, stored
from manifests.schema import Pair
from operators.arrange.difference_mask import DifferenceMask, changed_region
from operators.arrange.resize import Resize
from operators.base import Setting
from pipelines.tasks.editing import EDITING, INSTRUCTPIX2PIX, MAGICBRUSH, ULTRAEDIT
from tests.sources import encode, lossless, pair_of

PHOTO = np.ascontiguousarray(skimage.data.astronaut()[:256, 100:420])
OTHER = np.ascontiguousarray(skimage.data.coffee()[100:356, 100:420])
DERIVE = DifferenceMask(masks="derive")


def test_the_region_of_known_edits_is_found_through_jpeg_and_noise() -> None:
    where = _disc(110, 180, 45)
    hsv = cv2.cvtColor(PHOTO, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 70) % 180
    hsv[..., 1] = np.maximum(hsv[..., 1], 120)
    edits = {
        "pasted": OTHER,
        "recoloured": cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB),
        "removed": cv2.inpaint(PHOTO, where.astype(np.uint8), 5, cv2.INPAINT_TELEA),
    }
    for name, other in edits.items():
        edited = np.where(where[..., None], other, PHOTO).astype(np.uint8)
        for through, after in {
            "nothing": edited,
            "JPEG": decode_rgb(encode(edited, "JPEG", quality=75)),
            "noise": _noisy(edited),
            "light": (edited * 1.05 + 6).clip(0, 255).astype(np.uint8),
        }.items():
            mask, found = changed_region(PHOTO, after)
            assert found == "region"
            assert (mask & where).sum() / (mask | where).sum() > 0.6, (name, through)


@pytest.mark.parametrize("quality", [75, 95])
def test_what_was_only_saved_again_has_no_mask(quality: int) -> None:
    for photo in (PHOTO, OTHER):
        again = decode_rgb(encode(photo, "JPEG", quality=quality))
        for after in (photo, again, _noisy(photo), (again * 0.95).astype(np.uint8)):
            mask, found = changed_region(photo, after)
            assert found == "nothing" and not mask.any()


def test_what_was_changed_all_over_has_no_mask() -> None:
    for after in (OTHER, (PHOTO * 0.5).astype(np.uint8), 255 - PHOTO, PHOTO[:, ::-1]):
        mask, found = changed_region(PHOTO, np.ascontiguousarray(after))
        assert found == "everything" and mask.all()


def test_flat_and_small_pictures() -> None:
    flat = np.full((32, 40, 3), 120, np.uint8)
    assert changed_region(flat, flat)[1] == "nothing"
    assert changed_region(flat, flat + 90)[1] == "everything"
    edited = flat.copy()
    edited[8:20, 10:30] = (200, 30, 30)
    mask, _ = changed_region(flat, edited)
    truth = (edited != flat).any(axis=2)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.7


def test_a_large_picture_is_compared_smaller_and_its_mask_has_its_size() -> None:
    before, after = (cv2.resize(image, (1_600, 1_280)) for image in (PHOTO, _edited()))
    mask, found = changed_region(before, after)
    truth = cv2.resize(_disc(110, 180, 45).astype(np.uint8), (1_600, 1_280)) > 0
    assert found == "region" and mask.shape == (1_280, 1_600)
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8


def test_the_mask_and_its_area_are_stored() -> None:
    pair = DERIVE(_pair(_edited()), 0)
    image = pair.image("mask")
    assert image and (image.width_px, image.height_px) == (320, 256)
    mask = decode_rgb(image.data)
    assert set(np.unique(mask)) == {0, 255}
    assert pair.scores == {"mask_area": round(float((mask[..., 0] > 127).mean()), 6)}
    assert pair.steps[-1].params == {"found": "region"}
    assert DERIVE(_pair(_edited()), 1).images == pair.images


def test_without_a_mask_the_score_says_why() -> None:
    for after, found, area in ((PHOTO, "nothing", 0.0), (OTHER, "everything", 1.0)):
        pair = DERIVE(_pair(after), 0)
        assert pair.image("mask") is None
        assert (pair.scores, pair.steps[-1].params) == ({"mask_area": area}, {"found": found})
    pair = DERIVE(_pair(PHOTO[:-1]), 0)
    assert (pair.images, pair.scores) == (_pair(PHOTO[:-1]).images, {}) and pair.steps[-1].params == {
        "found": "no_grid"
    }


def test_a_mask_of_the_source_stays() -> None:
    pair = _pair(_edited())
    pair = replace(pair, images=(*pair.images, lossless("mask", PHOTO)))
    assert DERIVE(pair, 0) is pair


def test_it_is_used_where_it_is_asked_for() -> None:
    setting = Setting(paired=True, examples=(), chain=())
    assert DifferenceMask().fitted(setting) is None  # and the fingerprints of before stay
    assert DERIVE.fitted(setting) is DERIVE
    for task in (EDITING, INSTRUCTPIX2PIX, MAGICBRUSH, ULTRAEDIT):
        assert task.options["masks"].choices == ("source", "derive")
        assert DERIVE in task.with_options({"masks": "derive"}).chain


def test_a_mask_keeps_to_its_input_when_both_are_made_smaller() -> None:
    small = Resize(size_px=100, mode="crop")(DERIVE(_pair(_edited()), 0), 0)
    assert {(image.width_px, image.height_px) for image in small.images} == {(100, 100)}


def _disc(y: int, x: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: PHOTO.shape[0], : PHOTO.shape[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < radius**2)


def _edited() -> Pixels:
    return np.asarray(np.where(_disc(110, 180, 45)[..., None], OTHER, PHOTO))


def _noisy(photo: Pixels) -> Pixels:
    """Softer, and with noise of 3 levels, as an autoencoder leaves it."""
    soft = cv2.GaussianBlur(photo, (0, 0), 0.7)
    noisy = soft + np.random.default_rng(0).normal(0, 3, soft.shape)
    return np.asarray(noisy.clip(0, 255), np.uint8)


def _pair(after: Pixels) -> Pair:
    return pair_of(lossless("input", PHOTO), stored("target", encode(after)))
