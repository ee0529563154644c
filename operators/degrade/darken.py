"""Synthesised low light: less exposure, and the noise that a sensor shows when it gets little light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from manifests.schema import Pair
from operators.base import OnlyUnpaired
from operators.degrade.synthesis import clean_pixels, with_input

_GAMMA = 2.2  # close to sRGB's curve


@dataclass(frozen=True, kw_only=True)
class Darken(OnlyUnpaired):
    """Gives a pair that has only a target its dark input: exposure lowered in linear light, then noise.

    LOL's dark images have a mean of about 15 levels of 255, its bright ones about 110: some 6 stops of linear light.
    """

    name: ClassVar[str] = "darken"
    version: ClassVar[int] = 1
    stops: tuple[float, float] = (2.0, 5.0)
    noise_sigma: tuple[float, float] = (0.0, 6.0)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        random = np.random.default_rng(seed)
        stops = round(float(random.uniform(*self.stops)), 2)
        sigma = round(float(random.uniform(*self.noise_sigma)), 2)
        levels = (np.arange(256) / 255) ** _GAMMA * 2.0**-stops
        darker = ((levels ** (1 / _GAMMA)) * 255).astype(np.float32)[clean_pixels(pair)]
        darker += random.standard_normal(darker.shape, np.float32) * np.float32(sigma)
        pixels = np.rint(darker.clip(0, 255)).astype(np.uint8)
        params = {"stops": stops, "noise_sigma": sigma}
        return with_input(pair, pixels, self, seed, params)

    @staticmethod
    def in_words(params: Mapping[str, Any]) -> str:
        darkness = "dim" if params["stops"] < 3 else "dark" if params["stops"] < 4 else "very dark"
        sigma = params["noise_sigma"]
        grain = "hardly any noise" if sigma < 2 else f"noise of about {sigma:.0f} levels"
        return f"a {darkness} exposure, about {params['stops']:.1f} stops too low, with {grain}"
