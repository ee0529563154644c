"""Turns a raw dense target (depth, class ids, normals: operators/arrange/dense.py) into its colour image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from manifests.images.pixels import Pixels, decode_values, encode_lossless
from manifests.schema import Image, Pair, Reject, Step
from operators.arrange.dense import NEAREST, Values
from operators.option import option
from operators.shared.palettes import (
    DEPTH_PALETTES,
    TRAINED_PALETTE,
    UNSEEN_PALETTE,
    decode_normals,
    encode_depth,
    encode_labels,
    encode_nearness,
    encode_normals,
)

MIN_VALID = 0.05
"""Least share of pixels that must have a value: a target that is nearly all black teaches nothing."""


@dataclass(frozen=True, kw_only=True)
class ColourDense:
    """Replaces the raw target by its colour image, losslessly; operators/shared/palettes.py says how to read it back.

    Stores the share of pixels that have a value as the score "valid". Rejects: wrong_values (a class id that
    ADE20K does not have), no_values (fewer than MIN_VALID of the pixels have one).
    """

    name: ClassVar[str] = "colour_dense"
    version: ClassVar[int] = 2
    palette: str = TRAINED_PALETTE
    """The palette for depth; the other kinds have only one."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        raw = pair.image("target")
        assert raw, "a dense source brings its target"
        meaning = next((step.params["target"] for step in reversed(pair.steps) if "target" in step.params), None)
        assert meaning, "who makes a dense target says what its numbers mean"
        pixels = self._colours(_decode(raw), meaning)
        valid = round(float(pixels.any(-1).mean()), 4)
        if valid < MIN_VALID:
            raise Reject("no_values", f"{valid:.1%} of its pixels have a value", {"valid": valid})
        coloured = encode_lossless("target", pixels)
        params = {"palette": self.palette}
        return replace(
            pair,
            images=tuple(coloured if image is raw else image for image in pair.images),
            scores={**pair.scores, "valid": valid},
            steps=(*pair.steps, Step(operator=self.name, version=self.version, params=params)),
        )

    def _colours(self, raw: np.ndarray, values: Values) -> Pixels:
        if values == "depth_mm":
            return encode_depth(raw.astype(np.float32) / np.float32(1000), self.palette)
        if values == "relative_depth":
            return encode_nearness(raw / NEAREST, self.palette)
        if values == "class_ids":
            try:
                return encode_labels(raw)
            except ValueError as error:
                raise Reject("wrong_values", str(error)) from None
        normals = decode_normals(raw)
        return encode_normals(-normals if values == "negated_normals" else normals)


@dataclass(frozen=True, kw_only=True)
class ColourDepth(ColourDense):
    """The same for depth, whose palette a user may set."""

    palette: str = option(
        TRAINED_PALETTE,
        f"colours of depth; {UNSEEN_PALETTE} is for the test of an unseen palette (paper 4.4), and is not trained on",
        choices=DEPTH_PALETTES,
    )


def _decode(image: Image) -> np.ndarray:
    """Raw values, 16-bit ones included."""
    try:
        return decode_values(image.data)
    except Reject as reject:
        raise Reject(reject.reason, f"{image.role}: {reject.message}") from None
