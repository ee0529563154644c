"""Synthesised flat development: the exposure, contrast, saturation and white balance that a retoucher would correct."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from manifests.schema import Pair
from operators.base import OnlyUnpaired
from operators.degrade.synthesis import clean_pixels, with_input

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class Detone(OnlyUnpaired):
    """Gives a pair that has only a target (taken as the retouched image) an input as a camera might have left it."""

    name: ClassVar[str] = "detone"
    version: ClassVar[int] = 1
    exposure: tuple[float, float] = (0.55, 0.9)
    """The range of a factor of the encoded values, not of the light: 0.5 is about two stops."""
    contrast: tuple[float, float] = (0.6, 0.9)
    saturation: tuple[float, float] = (0.4, 0.85)
    warmth: tuple[float, float] = (-0.12, 0.12)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        random = np.random.default_rng(seed)
        names = ("exposure", "contrast", "saturation", "warmth")
        params = {name: round(float(random.uniform(*getattr(self, name))), 3) for name in names}
        image = clean_pixels(pair).astype(np.float32) / np.float32(255)
        grey = (image @ _LUMA)[..., None]
        image = grey + (image - grey) * np.float32(params["saturation"])
        image = (image - np.float32(0.5)) * np.float32(params["contrast"]) + np.float32(0.5)
        balance = np.array([1 + params["warmth"], 1, 1 - params["warmth"]], np.float32)
        image = image * balance * np.float32(params["exposure"])
        pixels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        return with_input(pair, pixels, self, seed, params)

    @staticmethod
    def in_words(params: Mapping[str, Any]) -> str:
        cast = (
            "a warm colour cast"
            if params["warmth"] > 0.04
            else "a cold colour cast"
            if params["warmth"] < -0.04
            else "a neutral white balance"
        )
        return (
            f"brightness lowered to {round(100 * params['exposure'])}%, "
            f"contrast to {round(100 * params['contrast'])}%, "
            f"saturation to {round(100 * params['saturation'])}%, and {cast}"
        )
