"""Synthesised sensor noise: additive white Gaussian noise, the degradation of DFWB training (paper Tab. 6)."""

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
class Noise(OnlyUnpaired):
    """Gives a pair that has only a target its noisy input.

    The default range of sigma, in levels of 255, is that of blind colour denoising on DFWB, 0 to 50
    (https://github.com/swz30/Restormer, GaussianColorDenoising_Restormer.yml, sigma_range), from where noise is seen:
    over no background is a change of less than 3 levels noticed (operators/shared/visibility.py). From 0, a pair in 40
    would show none.
    """

    name: ClassVar[str] = "noise"
    version: ClassVar[int] = 2
    sigma: tuple[float, float] = (3.0, 50.0)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        random = np.random.default_rng(seed)
        sigma = round(float(random.uniform(*self.sigma)), 2)
        clean = clean_pixels(pair)
        # OpenCV's generator is four times faster than NumPy's for this; its state is the thread's own.
        cv2.setRNGSeed(int(random.integers(2**31)))
        noise = np.empty(clean.shape, np.int16)
        cv2.randn(noise, (0,) * 3, (sigma,) * 3)
        noisy = cv2.add(clean, noise, dtype=cv2.CV_8U)
        return with_input(pair, np.asarray(noisy, np.uint8), self, seed, {"sigma": sigma})

    @staticmethod
    def in_words(params: Mapping[str, Any]) -> str:
        sigma = params["sigma"]
        strength = "barely visible" if sigma < 10 else "moderate" if sigma < 30 else "strong"
        return f"{strength} Gaussian noise with a standard deviation of about {round(sigma)} of 255 levels"
