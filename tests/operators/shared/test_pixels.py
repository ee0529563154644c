from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operators.shared.pixels import changed_area, mean_abs_diff, same_size, sharpness
from tests.sources import photo

FIRST, SECOND = photo(0, 64, 48), photo(1, 64, 48)


def test_a_difference_below_zero_does_not_wrap() -> None:
    """uint8: 0 - 1 is 255, |0 - 1| / 255 would be 1. Both orders must give 1 / 255."""
    black, nearly = np.zeros((12, 12, 3), np.uint8), np.ones((12, 12, 3), np.uint8)
    assert mean_abs_diff(black, nearly) == mean_abs_diff(nearly, black) == pytest.approx(1 / 255, abs=1e-12)
    assert changed_area(black, nearly) == changed_area(nearly, black) == 0
    white = np.full((12, 12, 3), 255, np.uint8)
    assert mean_abs_diff(black, white) == mean_abs_diff(white, black) == 1
    # An L1 over bytes is no greater than the true one only by luck.
    true = np.abs(FIRST.astype(int) - SECOND.astype(int)).mean() / 255
    assert mean_abs_diff(FIRST, SECOND) == pytest.approx(true, abs=1e-12)


def test_the_changed_area_is_the_share_of_pixels_that_changed() -> None:
    changed = FIRST.copy()
    changed[:12, :16] ^= 128
    assert changed_area(FIRST, changed) == pytest.approx(12 * 16 / (64 * 48))


def test_sharpness_is_the_variance_of_the_laplacian_and_falls_with_blur() -> None:
    step = np.zeros((5, 5, 3), np.uint8)
    step[2, 2] = 100
    laplacian = np.zeros((5, 5))
    laplacian[2, 2], laplacian[1, 2], laplacian[3, 2], laplacian[2, 1], laplacian[2, 3] = -400, 100, 100, 100, 100
    assert sharpness(step) == pytest.approx(laplacian.var())
    blurred = np.asarray(gaussian_filter(FIRST.astype(float), (2, 2, 0)), np.uint8)
    assert sharpness(blurred) < sharpness(FIRST) / 10


def test_the_larger_image_is_brought_to_the_size_of_the_smaller() -> None:
    twice = FIRST.repeat(2, 0).repeat(2, 1)
    for first, second in (same_size(twice, FIRST), same_size(FIRST, twice)):
        assert np.array_equal(first, FIRST) and np.array_equal(second, FIRST)
    assert [image.shape for image in same_size(FIRST, photo(1, 32, 48))] == [(48, 32, 3), (48, 32, 3)]
