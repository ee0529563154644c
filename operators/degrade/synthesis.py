"""What all operators that synthesise an input from a clean target share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Step
from operators.base import Operator


def clean_pixels(pair: Pair) -> Pixels:
    """The target's pixels. Raises Reject: not_image, truncated, oversized."""
    target = pair.image("target")
    assert target, "a pair without an input has a target"
    return decode_rgb(target.data)


def with_input(pair: Pair, pixels: Pixels, operator: Operator, seed: int, params: Mapping[str, Any]) -> Pair:
    """The pair with its synthesised input, losslessly encoded, and the step that says how it was made."""
    step = Step(operator=operator.name, version=operator.version, seed=seed, params=params)
    return replace(pair, images=(encode_lossless("input", pixels), *pair.images), steps=(*pair.steps, step))
