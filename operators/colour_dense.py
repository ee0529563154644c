"""Turns a source's raw dense target (depth in millimetres, class ids, normals) into its colour image."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from PIL import Image as PILImage

from manifests.images import Pixels, encode_lossless
from manifests.schema import Image, Pair, Reject, Step
from operators.palettes import decode_normals, encode_depth, encode_labels, encode_normals

MIN_VALID = 0.05
"""Least share of pixels that must have a value: a target that is nearly all black teaches nothing."""


@dataclass(frozen=True, kw_only=True)
class ColourDense:
    """Replaces the raw target by its colour image, losslessly; operators/palettes.py says how to read it back.

    Stores the share of pixels that have a value as the score "valid". Rejects: not_dense (the raw image is not what
    the kind needs), no_values (fewer than MIN_VALID of the pixels have one).
    """

    name: ClassVar[str] = "colour_dense"
    version: ClassVar[int] = 1
    kind: Literal["depth", "labels", "normals"]
    palette: str = "rainbow"
    """Of depth; the other kinds have one."""
    negated: bool = False
    """Of normals: whether the file stores the opposite vector (FrameNet's ScanNet)."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        raw = pair.image("target")
        assert raw, "a dense source brings its target"
        pixels = self._colours(_decode(raw))
        valid = round(float(pixels.any(-1).mean()), 4)
        if valid < MIN_VALID:
            raise Reject("no_values", f"{valid:.1%} of its pixels have a value", {"valid": valid})
        coloured = encode_lossless("target", pixels)
        params = {"kind": self.kind, "palette": self.palette, "negated": self.negated}
        return replace(
            pair,
            images=tuple(coloured if image is raw else image for image in pair.images),
            scores={**pair.scores, "valid": valid},
            steps=(*pair.steps, Step(operator=self.name, version=self.version, params=params)),
        )

    def _colours(self, raw: np.ndarray) -> Pixels:
        if self.kind == "normals":
            if raw.ndim != 3 or raw.shape[2] != 3:
                raise Reject("not_dense", f"normals need three channels, this image is {raw.shape}")
            return encode_normals(decode_normals(255 - raw if self.negated else raw))
        if raw.ndim != 2:
            raise Reject("not_dense", f"{self.kind} needs one channel, this image is {raw.shape}")
        if self.kind == "depth":
            return encode_depth(raw.astype(np.float32) / np.float32(1000), self.palette)  # millimetres
        try:
            return encode_labels(raw)
        except (ValueError, IndexError) as error:
            raise Reject("not_dense", str(error)) from error


def _decode(image: Image) -> np.ndarray:
    """Raw values, 16-bit ones included."""
    try:
        with PILImage.open(io.BytesIO(image.data)) as opened:
            return np.asarray(opened)
    except (OSError, SyntaxError, ValueError) as error:
        raise Reject("truncated", f"{image.role}: {error}") from None
