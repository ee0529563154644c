from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.degrade.rain import BANK_LAYERS, Rain, bank_layer, screen
from tests.sources import lossless, pair_of, photo

# Steep and flat, short and long, sparse and dense.
LAYERS = (0, 4, 5, 10, 13, 20, 21, 28)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_rain() -> None:
    pair = pair_of(lossless("target", photo(0)))
    bank_layer.cache_clear()
    first = Rain()(pair, 7)
    bank_layer.cache_clear()  # as in another worker
    assert Rain()(pair, 7) == first
    assert Rain()(pair, 8).images[0].data != first.images[0].data


def test_the_target_stays_and_the_input_has_its_size() -> None:
    target = lossless("target", photo(0, 33, 21))
    rainy = Rain()(pair_of(target), 1)
    assert [image.role for image in rainy.images] == ["input", "target"]
    assert rainy.images[1] == target
    assert (rainy.images[0].width_px, rainy.images[0].height_px) == (33, 21)
    assert decode_rgb(rainy.images[0].data).shape == (21, 33, 3)


@pytest.mark.parametrize("opacity", [0.55, 0.8, 0.95, 1.0])
def test_screen_is_within_one_level_of_the_float_formula_for_every_pair_of_values(opacity: float) -> None:
    layer, value = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    image = np.repeat(value[:, :, None], 3, axis=2).astype(np.uint8)
    blended = screen(image, layer.astype(np.uint8), opacity).astype(float)
    exact = 255 - (255 - value) * (255 - opacity * layer) / 255
    assert np.abs(blended - exact[:, :, None]).max() <= 1.0


def test_screen_leaves_the_image_where_there_is_no_streak() -> None:
    image = photo(0)
    assert np.array_equal(screen(image, np.zeros(image.shape[:2], np.uint8), 0.9), image)


@pytest.mark.parametrize("number", LAYERS)
def test_a_layer_leans_as_its_angle_says(number: int) -> None:
    layer = bank_layer(number)
    assert layer.angle_deg >= 0
    assert _lean_deg(layer.streaks) == pytest.approx(layer.angle_deg, abs=1.5)


@pytest.mark.parametrize("number", LAYERS)
def test_a_layer_is_as_bright_as_its_density_and_length_say(number: int) -> None:
    layer = bank_layer(number)
    # A streak of n px leaning by a covers n cos(a) rows; drops average 0.7, the fade from 1 to 0.3 averages 0.65.
    expected = layer.density * layer.length_px * np.cos(np.deg2rad(layer.angle_deg)) * 0.7 * 0.65
    assert layer.streaks.mean() / 255 == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("number", LAYERS)
def test_a_layer_has_no_seam_where_it_wraps(number: int) -> None:
    streaks = bank_layer(number).streaks.astype(float)
    for axis in (0, 1):
        steps = np.abs(streaks - np.roll(streaks, 1, axis)).mean(axis=1 - axis)
        assert steps[0] <= steps[1:].max()


def test_the_bank_covers_its_ranges_with_distinct_layers() -> None:
    layers = [bank_layer(number) for number in range(BANK_LAYERS)]
    assert len({layer.streaks.tobytes() for layer in layers}) == BANK_LAYERS
    for values, low, high in (
        ([layer.density for layer in layers], 0.002, 0.012),
        ([layer.angle_deg for layer in layers], 0.0, 30.0),
        ([float(layer.length_px) for layer in layers], 12.0, 48.0),
    ):
        assert low <= min(values) < low + (high - low) / 4
        assert high - (high - low) / 4 < max(values) <= high


@pytest.mark.parametrize("seed", range(6))
def test_the_recorded_parameters_rebuild_the_rain(seed: int) -> None:
    """Over black, screen shows the streaks alone. The image is larger than a layer, so it wraps both ways."""
    size = (1_200, 1_100)
    rainy, params = _rain_over_black(seed, *size)
    layer = bank_layer(params["layer"])
    window = np.roll(layer.streaks, (-params["y_px"], -params["x_px"]), (0, 1))
    window = np.tile(window, (2, 2))[: size[0], : size[1]]
    if params["mirrored"]:
        window = window[:, ::-1]
    assert np.abs(rainy - params["opacity"] * window.astype(float)).max() <= 1.0
    assert (params["density"], params["length_px"]) == (layer.density, layer.length_px)


def test_the_recorded_angle_has_the_sign_of_the_lean_mirrored_or_not() -> None:
    seen = set()
    for seed in range(8):
        rainy, params = _rain_over_black(seed, 1_024, 1_024)
        seen.add(params["mirrored"])
        assert (params["angle_deg"] < 0) is params["mirrored"]
        assert _lean_deg(rainy) == pytest.approx(params["angle_deg"], abs=1.5)
    assert seen == {True, False}


def test_seeds_reach_every_layer_mirrored_and_not() -> None:
    pair = pair_of(lossless("target", photo(0, 8, 8)))
    drawn = set()
    for seed in range(1_000):
        params = _params(Rain()(pair, seed))
        drawn.add((params["layer"], params["mirrored"]))
        assert 0.55 <= params["opacity"] <= 0.95
        assert 0 <= params["x_px"] < 1_024 and 0 <= params["y_px"] < 1_024
    assert drawn == {(layer, mirrored) for layer in range(BANK_LAYERS) for mirrored in (True, False)}


def _rain_over_black(seed: int, height_px: int, width_px: int) -> tuple[Pixels, dict[str, Any]]:
    """One channel of the rainy image, and what was recorded of it."""
    rainy = Rain()(pair_of(lossless("target", np.zeros((height_px, width_px, 3), np.uint8))), seed)
    return decode_rgb(rainy.images[0].data)[:, :, 0], _params(rainy)


def _params(pair: Pair) -> dict[str, Any]:
    step = pair.step("rain")
    assert step
    return dict(step.params)


def _lean_deg(streaks: Pixels) -> float:
    """The lean from the vertical, positive to the right going down: the axis of the autocorrelation's peak."""
    radius = 10
    spectrum = np.abs(np.fft.fft2(streaks - streaks.mean())) ** 2
    correlation = np.fft.fftshift(np.fft.ifft2(spectrum).real)
    middle = streaks.shape[0] // 2
    peak = correlation[middle - radius : middle + radius + 1, middle - radius : middle + radius + 1]
    weight = peak - np.median(correlation)
    weight = weight * (weight > 0.3 * weight.max())
    down, right = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    covariance, spread_down, spread_right = (
        float((weight * product).sum()) for product in (right * down, down * down, right * right)
    )
    return float(np.rad2deg(0.5 * np.arctan2(2 * covariance, spread_down - spread_right)))
