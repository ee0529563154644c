"""What tests of synthesised degradations share: one input from one target, and what each of them promises."""

from __future__ import annotations

from typing import Any

import numpy as np

from manifests.images.pixels import Pixels, decode_rgb
from operators.word.describe import Degradation
from tests.sources import lossless, pair_of, photo


def degraded(operator: Degradation, target: Pixels, seed: int) -> tuple[Pixels, dict[str, Any]]:
    """The synthesised input of a target, and the recorded parameters."""
    pair = operator(pair_of(lossless("target", target)), seed)
    step = pair.step(operator.name)
    assert step and (step.version, step.seed) == (operator.version, seed)
    return decode_rgb(pair.images[0].data), dict(step.params)


def flat(level: int, height_px: int = 200, width_px: int = 200) -> Pixels:
    """An image of one gray."""
    return np.full((height_px, width_px, 3), level, np.uint8)


def check_promises(operator: Degradation) -> None:
    """The same seed gives the same pair, another seed other pixels and parameters, and the target stays."""
    target = lossless("target", photo(1, 33, 21))
    pair = operator(pair_of(target), 7)
    assert operator(pair_of(target), 7) == pair
    assert [image.role for image in pair.images] == ["input", "target"]
    assert pair.images[1] is target
    assert (pair.images[0].width_px, pair.images[0].height_px) == (33, 21)
    others = [operator(pair_of(target), seed) for seed in range(20)]
    assert len({other.images[0].data for other in others}) == 20
    assert len({str(other.steps[-1].params) for other in others}) == 20


def linear(pixels: Pixels) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Light, in [0, 1], of encoded values."""
    return (pixels.astype(np.float64) / 255) ** 2.2
