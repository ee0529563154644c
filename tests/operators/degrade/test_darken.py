from __future__ import annotations

import numpy as np
import pytest

from operators.degrade.darken import Darken
from tests.degraded import check_promises, degraded, flat, linear
from tests.sources import photo


def test_it_is_repeatable_and_leaves_the_target() -> None:
    check_promises(Darken())


@pytest.mark.parametrize("seed", range(6))
def test_a_photo_keeps_the_light_that_the_recorded_stops_leave(seed: int) -> None:
    clean = photo(seed, 120, 100)
    dark, params = degraded(Darken(noise_sigma=(0, 0)), clean, seed)
    assert params["noise_sigma"] == 0 and 2 <= params["stops"] <= 5
    measured_stops = np.log2(linear(clean).mean() / linear(dark).mean())
    assert measured_stops == pytest.approx(params["stops"], abs=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_noise_has_the_recorded_deviation(seed: int) -> None:
    noisy, params = degraded(Darken(stops=(2, 3)), flat(220), seed)
    still, _ = degraded(Darken(stops=(params["stops"],) * 2, noise_sigma=(0, 0)), flat(220), seed)
    noise = noisy.astype(np.float64) - still
    assert noise.std() == pytest.approx((params["noise_sigma"] ** 2 + 1 / 12) ** 0.5, rel=0.03, abs=0.3)
    assert abs(noise.mean()) < 0.55  # of which rounding is up to 0.5


def test_darkness_never_reorders_levels() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(5):
        dark, _ = degraded(Darken(noise_sigma=(0, 0)), ramp, seed)
        assert (np.diff(dark[0, :, 0].astype(int)) >= 0).all()
        assert dark[0, 0].max() == 0 and (dark <= ramp).all()


MIDDLE = {"stops": 3.5, "noise_sigma": 3.0}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("stops", 2.99, "a dim exposure, about 3.0 stops too low, with noise of about 3 levels"),
        ("stops", 3.0, "a dark exposure, about 3.0 stops too low, with noise of about 3 levels"),
        ("stops", 3.99, "a dark exposure, about 4.0 stops too low, with noise of about 3 levels"),
        ("stops", 4.0, "a very dark exposure, about 4.0 stops too low, with noise of about 3 levels"),
        ("noise_sigma", 1.99, "a dark exposure, about 3.5 stops too low, with hardly any noise"),
        ("noise_sigma", 2.0, "a dark exposure, about 3.5 stops too low, with noise of about 2 levels"),
    ],
)
def test_each_grade_begins_where_it_says(name: str, value: float, words: str) -> None:
    assert Darken.in_words({**MIDDLE, name: value}) == words
