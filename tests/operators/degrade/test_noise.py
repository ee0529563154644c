from __future__ import annotations

import numpy as np
import pytest

from operators.degrade.noise import Noise
from tests.degraded import check_promises, degraded, flat
from tests.sources import photo


def test_it_is_repeatable_and_leaves_the_target() -> None:
    check_promises(Noise())


@pytest.mark.parametrize("sigma", [2.0, 10.0, 25.0])
def test_noise_has_the_recorded_deviation_and_no_mean(sigma: float) -> None:
    """Over mid-gray, where nothing is clipped; rounding to whole levels adds a variance of 1/12."""
    noisy, params = degraded(Noise(sigma=(sigma, sigma)), flat(128), 3)
    assert params == {"sigma": sigma}
    noise = noisy.astype(np.float64) - 128
    assert noise.std() == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.02)
    assert abs(noise.mean()) < 0.02 * sigma


def test_noise_is_white_and_the_channels_have_their_own() -> None:
    noisy, _ = degraded(Noise(sigma=(20, 20)), flat(128), 3)
    noise = noisy.astype(np.float64) - 128
    for one, other in (
        (noise[:, :, 0], noise[:, :, 1]),
        (noise[:, :, 1], noise[:, :, 2]),
        (noise[1:], noise[:-1]),
        (noise[:, 1:], noise[:, :-1]),
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.025  # 5 standard deviations at 40,000 values


def test_noise_is_added_to_the_photo_and_clipped_at_its_ends() -> None:
    clean = photo(0, 200, 150)
    noisy, params = degraded(Noise(sigma=(15, 15)), clean, 3)
    inside = (clean > 75) & (clean < 180)
    difference = noisy.astype(np.float64) - clean
    assert difference[inside].std() == pytest.approx(params["sigma"], rel=0.03)
    dark, _ = degraded(Noise(sigma=(15, 15)), flat(0), 3)
    assert (dark == 0).mean() == pytest.approx(0.5, abs=0.03)  # not wrapped round to 255
    assert dark.max() < 100


def test_seeds_cover_the_range_evenly() -> None:
    drawn = [degraded(Noise(), flat(128, 8, 8), seed)[1]["sigma"] for seed in range(200)]
    assert 3 <= min(drawn) < 5.5 and 47.5 < max(drawn) <= 50
    assert np.mean(drawn) == pytest.approx(26.5, abs=4)


@pytest.mark.parametrize(
    ("sigma", "words"),
    [
        (9.99, "barely visible Gaussian noise with a standard deviation of about 10 of 255 levels"),
        (10.0, "moderate Gaussian noise with a standard deviation of about 10 of 255 levels"),
        (29.99, "moderate Gaussian noise with a standard deviation of about 30 of 255 levels"),
        (30.0, "strong Gaussian noise with a standard deviation of about 30 of 255 levels"),
    ],
)
def test_each_grade_begins_where_it_says(sigma: float, words: str) -> None:
    assert Noise.in_words({"sigma": sigma}) == words
