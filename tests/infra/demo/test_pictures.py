"""The demo's pictures: photos apart, licences that allow training, the same draws each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infra.demo.pictures import HELD_OUT, TRAINED, crop, drawn, photo, varied
from operators.read.bundled import PHOTOS


def test_nothing_is_measured_on_that_was_trained_from_nor_trained_from_that_asks_for_attribution() -> None:
    assert not {Path(name).name for name in TRAINED} & {Path(name).name for name in HELD_OUT}
    assert set(TRAINED.values()) == {"public domain", "CC0-1.0"}
    assert {name: PHOTOS[name] for name in HELD_OUT} == HELD_OUT


@pytest.mark.parametrize("name", [*TRAINED, *HELD_OUT])
def test_crops_are_squares_inside_of_a_photo_and_the_same_each_time(name: str) -> None:
    first, second = (crop(name, 64, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert photo(name).min() <= first.min() and first.max() <= photo(name).max()


def test_generated_and_varied_pictures_differ_from_seed_to_seed_and_repeat() -> None:
    seen = set()
    for seed in range(8):
        random, again = np.random.default_rng(seed), np.random.default_rng(seed)
        picture = varied(drawn(64, random), random)
        assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
        assert np.array_equal(picture, varied(drawn(64, again), again))
        seen.add(picture.tobytes())
    assert len(seen) == 8
