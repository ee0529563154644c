"""Synthesised rain: a layer of streaks, screened over a clean photo.

The classical recipe for synthetic rain (noise, thresholded, blurred along the direction of fall, blended by screen;
the kind Rain100H and Rain13K were made with: https://arxiv.org/abs/1609.07769) costs 9 ms a 512 px image. Here the
streak layers come from a bank made once per worker, the same on every machine; a pair picks a layer, a mirror image,
an offset and an opacity by its own seed. The layers wrap around, so any offset fits and any image can be tiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np

from manifests.images.pixels import Pixels
from manifests.schema import Pair
from operators.base import OnlyUnpaired
from operators.degrade.synthesis import clean_pixels, with_input

BANK_LAYERS = 32
"""Layers in the bank; mirrored, 64 combinations of density, angle and length. 1 MiB each."""

_LAYER_PX = 1_024
_BANK_SEED = 2412_01824
_DENSITY = (0.002, 0.012)  # share of pixels in which a streak begins: a shower to a downpour
_MAX_ANGLE_DEG = 30.0  # from the vertical; beyond it rain looks like motion blur
_LENGTH_PX = (12, 48)
_OPACITY = (0.55, 0.95)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One streak layer: _LAYER_PX square uint8 that wraps around, and the parameters it was made with."""

    streaks: Pixels
    density: float
    """Share of the pixels in which a streak begins."""
    angle_deg: float
    """Lean from the vertical; positive leans to the right going down."""
    length_px: int


@dataclass(frozen=True, kw_only=True)
class Rain(OnlyUnpaired):
    """Gives a pair that has only a target its rainy input."""

    name: ClassVar[str] = "rain"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        random = np.random.default_rng(seed)
        number = int(random.integers(BANK_LAYERS))
        layer = bank_layer(number)
        mirrored = bool(random.integers(2))
        x_px, y_px = (int(value) for value in random.integers(_LAYER_PX, size=2))
        opacity = round(float(random.uniform(*_OPACITY)), 3)

        clean = clean_pixels(pair)
        streaks = _window(layer.streaks, x_px, y_px, clean.shape[1], clean.shape[0])
        rainy = screen(clean, cv2.flip(streaks, 1) if mirrored else streaks, opacity)
        params = {
            "density": layer.density,
            "angle_deg": -layer.angle_deg if mirrored else layer.angle_deg,
            "length_px": layer.length_px,
            "opacity": opacity,
            "layer": number,
            "mirrored": mirrored,
            "x_px": x_px,
            "y_px": y_px,
        }
        return with_input(pair, rainy, self, seed, params)

    @staticmethod
    def in_words(params: Mapping[str, Any]) -> str:
        """The streaks in words and numbers, from the parameters that `Rain` recorded."""
        density = _grade(params["density"], (0.0045, 0.0085), ("sparse", "moderately dense", "dense"))
        length = _grade(params["length_px"], (22, 36), ("short", "medium-long", "long"))
        opacity = _grade(params["opacity"], (0.68, 0.82), ("faint", "clearly visible", "strong"))
        angle_deg = round(params["angle_deg"])
        if abs(angle_deg) <= 2:
            lean = "falling almost vertically"
        else:
            side = "right" if angle_deg > 0 else "left"
            lean = f"leaning about {abs(angle_deg)}° from the vertical towards the lower {side}"
        return (
            f"{density}, {length} rain streaks of about {params['length_px']} pixels, {lean}, "
            f"{opacity} at {round(100 * params['opacity'])}% opacity"
        )


@lru_cache(maxsize=BANK_LAYERS)
def bank_layer(number: int) -> Layer:
    """Layer `number` of the bank, made at its first use in a process."""
    random = np.random.default_rng([_BANK_SEED, number])
    density = round(float(random.uniform(*_DENSITY)), 4)
    angle_deg = round(float(random.uniform(0, _MAX_ANGLE_DEG)), 1)
    length_px = int(random.integers(_LENGTH_PX[0], _LENGTH_PX[1] + 1))
    drops = np.zeros((_LAYER_PX, _LAYER_PX), np.float32)
    starts = random.random(drops.shape, np.float32) < density
    drops[starts] = random.uniform(0.4, 1.0, int(starts.sum()))  # not all drops are equally bright
    margin_px = length_px + 1
    wrapped = np.pad(drops, margin_px, mode="wrap")
    blurred = cv2.filter2D(wrapped, -1, _streak_kernel(angle_deg, length_px))
    streaks = blurred[margin_px:-margin_px, margin_px:-margin_px]
    return Layer(
        streaks=(streaks.clip(0, 1) * 255).astype(np.uint8),
        density=density,
        angle_deg=angle_deg,
        length_px=length_px,
    )


def screen(image: Pixels, layer: Pixels, opacity: float) -> Pixels:
    """Screen blend, 255 - (255 - image) * (255 - opacity * layer) / 255, of H x W x 3 with an H x W layer."""
    dim = cv2.merge([cv2.convertScaleAbs(layer, alpha=-opacity, beta=255)] * 3)
    inverse = cv2.multiply(cv2.bitwise_not(image), dim, scale=1 / 255)
    return np.asarray(cv2.bitwise_not(inverse), np.uint8)


def _streak_kernel(angle_deg: float, length_px: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A line of the given lean and length that fades in, as drops do over an exposure.

    It is drawn here, row by row between the two nearest columns: cv2.line would round the ends to whole pixels, by
    which a short streak leans up to 5 degrees off, and antialiases 8-bit images only.
    """
    size = length_px | 1
    middle = (size - 1) / 2
    lean = np.deg2rad(angle_deg)
    from_middle = np.arange(size, dtype=np.float32) - np.float32(middle)
    distance = np.abs(from_middle[None, :] - np.float32(np.tan(lean)) * from_middle[:, None])
    inside = np.abs(from_middle) <= np.cos(lean) * middle + 0.5
    # filter2D correlates: the kernel is seen upside down, so the fade is written bottom to top.
    fade = np.linspace(1.0, 0.3, size, dtype=np.float32) * inside
    return np.asarray((1 - distance).clip(0, 1) * fade[:, None], np.float32)


def _window(layer: Pixels, x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
    """A width x height window of the endlessly repeated layer, from the given offset."""
    down_px, right_px = (max(0, end - _LAYER_PX) for end in (y_px + height_px, x_px + width_px))
    if down_px or right_px:
        layer = np.asarray(cv2.copyMakeBorder(layer, 0, down_px, 0, right_px, cv2.BORDER_WRAP), np.uint8)
    return layer[y_px : y_px + height_px, x_px : x_px + width_px]


def _grade(value: float, bounds: tuple[float, float], words: tuple[str, str, str]) -> str:
    return words[sum(value >= bound for bound in bounds)]
