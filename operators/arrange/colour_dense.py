"""Turns a raw dense target (depth, class ids, normals: operators/arrange/dense.py) into its colour image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject, Step
from operators.arrange.dense import NEAREST, Values, numbers
from operators.option import option
from operators.shared.palettes import (
    DEPTH_PALETTES,
    MAX_DEPTH_M,
    TRAINED_PALETTE,
    UNSEEN_PALETTE,
    encode_depth,
    encode_labels,
    encode_nearness,
    encode_normals,
)

MIN_VALID = 0.05
"""Least share of pixels that must have a value: a target that is nearly all black teaches nothing."""

MAX_OFF_UNIT = 0.5
"""Most that the length of a normal may differ from 1: one is drawn for what has none. FrameNet's loader takes a vector
for a direction that is longer than 0.5 (src/dataset.py of https://github.com/hjwdzh/FrameNet); gray (127, 127, 127) and
(128, 128, 128) stand for about 0, and black and white for vectors of length 1.73."""


@dataclass(frozen=True, kw_only=True)
class ColourDense:
    """Replaces the raw target by its colour image, losslessly; operators/shared/palettes.py says how to read it back.

    A pixel without a value becomes black: a depth that was not measured or is beyond 10 m, the class 0, what is no
    unit vector. Stores the share of pixels that have a value as the score "valid". Rejects: size_mismatch (the input
    has another size), wrong_values (a class id that ADE20K does not have, depths that are not millimetres), no_values
    (fewer than MIN_VALID of the pixels have one), truncated.
    """

    name: ClassVar[str] = "colour_dense"
    version: ClassVar[int] = 3
    palette: str = TRAINED_PALETTE
    """The palette for depth; the other kinds have only one."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        raw = pair.image("target")
        assert raw, "a dense source brings its target"
        meaning = next((step.params["target"] for step in reversed(pair.steps) if "target" in step.params), None)
        assert meaning, "who makes a dense target says what its numbers mean"
        photo = pair.image("input")
        if photo and (photo.width_px, photo.height_px) != (raw.width_px, raw.height_px):
            raise Reject(
                "size_mismatch",
                f"input {photo.width_px} x {photo.height_px} px, target {raw.width_px} x {raw.height_px} px",
            )
        pixels = self._colours(numbers(raw), meaning)
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
            _check_millimetres(raw)
            return encode_depth(raw.astype(np.float32) / np.float32(1000), self.palette)
        if values == "relative_depth":
            return encode_nearness(raw / NEAREST, self.palette)
        if values == "class_ids":
            try:
                return encode_labels(raw)
            except ValueError as error:
                raise Reject("wrong_values", str(error)) from None
        normals = _unit_vectors(raw)
        return encode_normals(-normals if values == "negated_normals" else normals)


@dataclass(frozen=True, kw_only=True)
class ColourDepth(ColourDense):
    """The same for depth, whose palette a user may set."""

    palette: str = option(
        TRAINED_PALETTE,
        f"colours of depth; {UNSEEN_PALETTE} is for the test of an unseen palette (paper 4.4), and is not trained on",
        choices=DEPTH_PALETTES,
    )


def _unit_vectors(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """H x W x 3 whole numbers of 8 or 16 bits -> unit vectors, NaN where a length is not about 1."""
    vectors = raw.astype(np.float32) / np.float32(np.iinfo(raw.dtype).max / 2) - 1
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    valid = np.abs(length - 1) <= MAX_OFF_UNIT
    return np.where(valid, vectors / np.maximum(length, np.float32(1e-6)), np.float32(np.nan))


def _check_millimetres(raw: npt.NDArray[Any]) -> None:
    """Raises Reject for whole numbers, 0 where there is none, that are plainly another thing than millimetres."""
    measured = raw[raw > 0]
    if not measured.size:
        return
    if measured.max() < 256:
        raise Reject(
            "wrong_values",
            f"no depth is above {measured.max()} mm: these are 8-bit depths, not millimetres, in 16 bits",
        )
    plain, swapped = raw.astype(np.int64), raw.astype(np.uint16).byteswap().astype(np.int64)
    # Exchanged bytes are told by two signs: most depths leave the range, and the other order is in it and smoother.
    if _far(plain) > 0.5 > _far(swapped) and _steps(swapped) < _steps(plain):
        raise Reject("wrong_values", "its depths are millimetres only if the two bytes of each are exchanged")


def _far(depth_mm: npt.NDArray[np.int64]) -> float:
    """The share of what has a depth that is beyond the palette's range."""
    return float((depth_mm[depth_mm > 0] > 1000 * MAX_DEPTH_M).mean())


def _steps(depth_mm: npt.NDArray[np.int64]) -> int:
    """The sum of the differences between neighbours."""
    return sum(int(np.abs(np.diff(depth_mm, axis=axis)).sum()) for axis in (0, 1))
