from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from manifests.images.pixels import Pixels
from operators.degrade.motion_blur import MotionBlur, line_kernel
from tests.degraded import check_promises, degraded, flat, linear

ANGLES_DEG = (0.0, 20.0, 45.0, 70.0, 90.0, 110.0, 135.0, 160.0)


def test_it_is_repeatable_and_leaves_the_target() -> None:
    check_promises(MotionBlur())


@pytest.mark.parametrize("length_px", [7, 8, 19, 30, 31])
@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
def test_the_kernel_is_a_centred_line_that_sums_to_1(length_px: int, angle_deg: float) -> None:
    kernel = line_kernel(length_px, angle_deg)
    assert kernel.shape == (length_px | 1, length_px | 1)
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert np.allclose(kernel, kernel[::-1, ::-1])
    middle = len(kernel) // 2
    down, right = np.mgrid[-middle : middle + 1, -middle : middle + 1]
    along = right * np.cos(np.deg2rad(angle_deg)) - down * np.sin(np.deg2rad(angle_deg))
    # A line of n pixels has a variance of (n^2 - 1) / 12 pixels.
    assert float((kernel * along**2).sum()) == pytest.approx((length_px**2 - 1) / 12, rel=0.06)


@pytest.mark.parametrize("length_px", range(7, 32))
def test_an_upright_kernel_covers_its_length_evenly(length_px: int) -> None:
    for kernel in (line_kernel(length_px, 0), line_kernel(length_px, 90).T):
        row = kernel[len(kernel) // 2]
        assert kernel.sum() == pytest.approx(row.sum())
        assert row[1:-1] == pytest.approx(1 / length_px)


@pytest.mark.parametrize("seed", range(12))
def test_gradients_along_the_recorded_angle_lose_most_of_their_energy(seed: int) -> None:
    """Counted anticlockwise: 30 degrees rise to the right. Over grain, since a photo has directions of its own."""
    grain = np.random.default_rng(seed).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    clean = np.asarray(cv2.normalize(cv2.GaussianBlur(grain, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX), np.uint8)
    blurred, params = degraded(MotionBlur(length_px=(15, 31)), clean, seed)
    left = _energy_by_degree(blurred) / _energy_by_degree(clean)
    apart_deg = (int(np.argmin(left)) - params["angle_deg"] + 90) % 180 - 90
    assert abs(apart_deg) <= 3


def test_a_point_becomes_a_line_that_rises_to_the_right() -> None:
    point = flat(0, 65, 65)
    point[32, 32] = 255
    seed = next(seed for seed in range(100) if 20 < degraded(MotionBlur(), point, seed)[1]["angle_deg"] < 70)
    blurred, _ = degraded(MotionBlur(), point, seed)
    light = linear(blurred)[:, :, 0]
    upper_right, upper_left = light[:32, 33:].sum(), light[:32, :32].sum()
    assert upper_right > 0.3 and upper_left < 0.02
    assert light.sum() == pytest.approx(1, abs=0.02)  # light is neither lost nor made


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_flat_image_stays(level: int) -> None:
    for seed in range(5):
        assert np.array_equal(degraded(MotionBlur(), flat(level, 40, 50), seed)[0], flat(level, 40, 50))


def test_seeds_cover_lengths_and_angles() -> None:
    drawn = [degraded(MotionBlur(), flat(128, 8, 8), seed)[1] for seed in range(400)]
    assert {params["length_px"] for params in drawn} == set(range(7, 32))
    angles_deg = [params["angle_deg"] for params in drawn]
    assert 0 <= min(angles_deg) < 5 and 175 < max(angles_deg) <= 180


@pytest.mark.parametrize(
    ("length_px", "angle_deg", "words"),
    [
        (12, 45.2, "slight motion blur of about 12 pixels along a direction 45° from the horizontal"),
        (13, 45.2, "clear motion blur of about 13 pixels along a direction 45° from the horizontal"),
        (22, 135.0, "clear motion blur of about 22 pixels along a direction 135° from the horizontal"),
        (23, 135.0, "heavy motion blur of about 23 pixels along a direction 135° from the horizontal"),
        (30, 0.0, "heavy motion blur of about 30 pixels along a direction nearly horizontal"),
        (30, 10.4, "heavy motion blur of about 30 pixels along a direction nearly horizontal"),
        (30, 10.6, "heavy motion blur of about 30 pixels along a direction 11° from the horizontal"),
        (30, 169.4, "heavy motion blur of about 30 pixels along a direction 169° from the horizontal"),
        (30, 169.6, "heavy motion blur of about 30 pixels along a direction nearly horizontal"),
        (30, 180.0, "heavy motion blur of about 30 pixels along a direction nearly horizontal"),
        (30, 79.4, "heavy motion blur of about 30 pixels along a direction 79° from the horizontal"),
        (30, 79.6, "heavy motion blur of about 30 pixels along a direction nearly vertical"),
        (30, 100.4, "heavy motion blur of about 30 pixels along a direction nearly vertical"),
        (30, 100.6, "heavy motion blur of about 30 pixels along a direction 101° from the horizontal"),
    ],
)
def test_each_grade_begins_where_it_says(length_px: int, angle_deg: float, words: str) -> None:
    assert MotionBlur.in_words({"length_px": length_px, "angle_deg": angle_deg}) == words


def _energy_by_degree(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Mean square of the derivative in each direction, counted anticlockwise from the right."""
    down, right = np.gradient(linear(pixels).mean(-1))
    angles = np.deg2rad(np.arange(180))
    across, up = np.cos(angles), np.sin(angles)
    energy = across**2 * (right**2).mean() + up**2 * (down**2).mean() - 2 * across * up * (right * down).mean()
    return np.asarray(energy, np.float64)
