"""Targets that are values rather than pictures: depth, class ids, surface normals.

A reader hands their bytes on as they are and records what the numbers mean in a step "read", whose parameter `target`
is one of these; an operator that annotates photos (operators/degrade/annotator.py) makes them, and says so in its step:

    depth_mm            16-bit gray PNG: millimetres along the viewing axis, 0 where there is none
    relative_depth      16-bit gray PNG: inverse depth between that of the image's farthest, 0, and nearest, 65,535
    class_ids           8-bit gray or palette PNG: ADE20K's 0..150, 0 is "other"
    normals             8-bit RGB PNG: n = 2 * rgb / 255 - 1, not unit length, black where there is none
    negated_normals     the same with the opposite sign: n = 1 - 2 * rgb / 255

so that the operator that colours them (operators/shared/palettes.py) needs to know nothing of datasets.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from manifests.images.pixels import encode_lossless, read_header, stored
from manifests.schema import Image, Reject, Step
from operators.shared.palettes import encode_normals

Values = Literal["depth_mm", "relative_depth", "class_ids", "normals", "negated_normals"]

_MODES: Mapping[Values, tuple[str, ...]] = {
    "depth_mm": ("I;16", "I;16B", "I"),  # which of them depends on Pillow's version
    "relative_depth": ("I;16", "I;16B", "I"),
    "class_ids": ("L", "P"),
    "normals": ("RGB",),
    "negated_normals": ("RGB",),
}

_MAX_MM = 65_535
NEAREST = 65_535
"""The number of an image's nearest in a "relative_depth" target."""


def dense(data: bytes, values: Values) -> Image:
    """A target to be stored byte for byte. Raises Reject: wrong_values, and as `stored` does.

    What is lossy or has another pixel format holds other values than these: a picture of the depth, say.
    """
    header = read_header(data)
    if header.format != "png" or header.mode not in _MODES[values]:
        expected = " or ".join(_MODES[values])
        raise Reject("wrong_values", f"{values} come as PNG of mode {expected}, not as {header.format} {header.mode}")
    return stored("target", data)


def read_step(values: Values, **params: Any) -> Step:
    """The step that tells what a target's numbers mean."""
    return Step(operator="read", version=1, params={"target": values, **params})


def depth_target(depth_m: npt.NDArray[np.floating[Any]]) -> Image:
    """H x W metres as a new "depth_mm" target. Not finite, not positive or beyond 65 m becomes 0: no value."""
    millimetres = np.rint(depth_m.astype(np.float64) * 1000)
    valid = np.isfinite(millimetres) & (millimetres > 0) & (millimetres <= _MAX_MM)
    return _gray(np.where(valid, millimetres, 0).astype(np.uint16))


def relative_depth_target(nearness: npt.NDArray[np.floating[Any]]) -> Image:
    """H x W of 0, the farthest, to 1, the nearest, as a new "relative_depth" target."""
    return _gray(np.rint(nearness.astype(np.float64) * NEAREST).astype(np.uint16))


def class_ids_target(labels: npt.NDArray[np.uint8]) -> Image:
    """H x W class ids as a new "class_ids" target."""
    return _gray(labels)


def normals_target(normals: npt.NDArray[np.float32]) -> Image:
    """H x W x 3 unit vectors as a new "normals" target; what is not finite becomes black."""
    return encode_lossless("target", encode_normals(normals))


def _gray(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Image:
    """A new target of H x W numbers, as a gray PNG of their size in bits."""
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return stored("target", buffer.getvalue())
