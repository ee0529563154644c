"""Synthesised motion blur: the camera moves along a straight line while the shutter is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from manifests.schema import Pair
from operators.base import OnlyUnpaired
from operators.degrade.synthesis import clean_pixels, with_input


@dataclass(frozen=True, kw_only=True)
class MotionBlur(OnlyUnpaired):
    """Gives a pair that has only a target its blurred input. Averaged in linear light, as a sensor does."""

    name: ClassVar[str] = "motion_blur"
    version: ClassVar[int] = 2
    length_px: tuple[int, int] = (7, 31)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        random = np.random.default_rng(seed)
        length_px = int(random.integers(self.length_px[0], self.length_px[1] + 1))
        angle_deg = round(float(random.uniform(0, 180)), 1)
        linear = _TO_LINEAR[clean_pixels(pair)]
        blurred = cv2.filter2D(linear, -1, line_kernel(length_px, angle_deg), borderType=cv2.BORDER_REFLECT)
        pixels = np.rint(blurred.clip(0, 1) ** (1 / _GAMMA) * 255).astype(np.uint8)
        params = {"length_px": length_px, "angle_deg": angle_deg}
        return with_input(pair, pixels, self, seed, params)

    @staticmethod
    def in_words(params: Mapping[str, Any]) -> str:
        length_px, angle_deg = params["length_px"], round(params["angle_deg"])
        strength = "slight" if length_px < 13 else "clear" if length_px < 23 else "heavy"
        if min(angle_deg, 180 - angle_deg) <= 10:
            along = "nearly horizontal"
        elif abs(angle_deg - 90) <= 10:
            along = "nearly vertical"
        else:
            along = f"{angle_deg}° from the horizontal"
        return f"{strength} motion blur of about {length_px} pixels along a direction {along}"


_GAMMA = 2.2  # close to sRGB's curve; GoPro's blur_gamma frames were averaged this way too
_TO_LINEAR = ((np.arange(256) / 255) ** _GAMMA).astype(np.float32)


def line_kernel(length_px: int, angle_deg: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A line through the middle, counted anticlockwise from the horizontal, one pixel thick; it sums to 1."""
    size = length_px | 1
    across = np.arange(size, dtype=np.float64) - (size - 1) / 2
    x, y = np.meshgrid(across, -across)  # y grows upwards
    angle = np.deg2rad(angle_deg)
    along = x * np.cos(angle) + y * np.sin(angle)
    off = np.abs(x * np.sin(angle) - y * np.cos(angle))
    kernel = (1 - off).clip(0, 1) * (length_px / 2 + 0.5 - np.abs(along)).clip(0, 1)  # the end pixels by their share
    return np.asarray(kernel / kernel.sum(), np.float32)
