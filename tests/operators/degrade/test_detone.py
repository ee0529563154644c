from __future__ import annotations

import numpy as np
import pytest

from manifests.images.pixels import Pixels
from operators.degrade.detone import Detone
from tests.degraded import check_promises, degraded
from tests.sources import photo


def test_it_is_repeatable_and_leaves_the_target() -> None:
    check_promises(Detone())


@pytest.mark.parametrize("seed", range(12))
def test_exposure_contrast_saturation_and_warmth_are_as_recorded(seed: int) -> None:
    clean = photo(seed, 120, 100)
    flat, params = degraded(Detone(), clean, seed)
    assert params.keys() == {"exposure", "contrast", "saturation", "warmth"}
    assert _measured(clean, flat) == pytest.approx(params, abs=0.02)


def test_nothing_is_clipped_so_that_it_can_be_undone() -> None:
    black_to_white = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(50):
        flat, _ = degraded(Detone(), black_to_white, seed)
        assert flat.min() > 0 and flat.max() < 255


def test_a_photo_becomes_darker_flatter_and_less_colourful() -> None:
    for seed in range(12):
        clean = photo(seed, 120, 100)
        flat, _ = degraded(Detone(warmth=(0, 0)), clean, seed)
        assert flat.std() < clean.std()
        assert np.ptp(flat, axis=-1).mean() < np.ptp(clean, axis=-1).mean()
        assert flat.max() < clean.max()


MIDDLE = {"exposure": 0.7, "contrast": 0.8, "saturation": 0.6, "warmth": 0.0}


@pytest.mark.parametrize(
    ("warmth", "cast"),
    [
        (-0.041, "a cold colour cast"),
        (-0.04, "a neutral white balance"),
        (0.04, "a neutral white balance"),
        (0.041, "a warm colour cast"),
    ],
)
def test_each_grade_begins_where_it_says(warmth: float, cast: str) -> None:
    assert Detone.in_words({**MIDDLE, "warmth": warmth}) == (
        f"brightness lowered to 70%, contrast to 80%, saturation to 60%, and {cast}"
    )


def _measured(clean: Pixels, flat: Pixels) -> dict[str, float]:
    """The parameters by regression: each channel is affine in the gray and in its distance from it."""
    before, after = clean.reshape(-1, 3) / 255, flat.reshape(-1, 3) / 255
    gray = before @ np.array([0.299, 0.587, 0.114])
    fits = []
    for channel in range(3):
        known = np.stack([gray, before[:, channel] - gray, np.ones_like(gray)], axis=1)
        fits.append(np.linalg.lstsq(known, after[:, channel], rcond=None)[0])
    of_gray, of_chroma, constant = np.transpose(fits)  # e c, e c s, e (1 - c) / 2, each times the channel's balance
    factor = of_gray + 2 * constant  # e, times the balance
    return {
        "exposure": float(factor[1]),
        "contrast": float((of_gray / factor).mean()),
        "saturation": float((of_chroma / of_gray).mean()),
        "warmth": float((factor[0] - factor[2]) / (2 * factor[1])),
    }
