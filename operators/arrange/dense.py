"""Targets that are values rather than pictures: depth, class ids, surface normals.

A reader hands their bytes on as they are and records what the numbers mean in a step "read", whose parameter `target`
is one of these; an operator that annotates photos (operators/degrade/annotator.py) makes them, and says so in its step:

    depth_mm            16-bit gray PNG: millimetres along the viewing axis, 0 where there is none
    relative_depth      16-bit gray PNG: inverse depth between that of the image's farthest, 0, and nearest, 65,535
    class_ids           8-bit or 16-bit gray or palette PNG: ADE20K's 0..150, 0 is "other"
    normals             8-bit or 16-bit RGB PNG: n = 2 * rgb / 255 - 1, or / 65,535; no unit vector where there is none
    negated_normals     the same with the opposite sign: n = 1 - 2 * rgb / 255

so that the operator that colours them (operators/shared/palettes.py) needs to know nothing of datasets. A map lies on
the grid of its photo (operators/arrange/grid.py). Where a mask beside it says that it has no value, it is made 0, which
is none in each of the published forms: black is no unit vector.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from manifests.images.pixels import decode_values, encode_lossless, orientation, read_header, stored
from manifests.schema import Image, Reject, Step
from operators.arrange.grid import turn_onto, turned, vectors_turned
from operators.shared.palettes import encode_normals

Values = Literal["depth_mm", "relative_depth", "class_ids", "normals", "negated_normals"]

_GRAY, _RGB, _PALETTE = 0, 2, 3  # colour types of PNG

_KINDS: Mapping[Values, tuple[str, tuple[tuple[int, int], ...]]] = {
    "depth_mm": ("16-bit gray", ((_GRAY, 16),)),
    "relative_depth": ("16-bit gray", ((_GRAY, 16),)),
    # A gray PNG of fewer bits is a picture, whose grays decoders spread over 0..255; a palette's indices stay.
    "class_ids": (
        "8-bit or 16-bit gray, or palette",
        ((_GRAY, 8), (_GRAY, 16), *((_PALETTE, n) for n in (1, 2, 4, 8))),
    ),
    "normals": ("RGB", ((_RGB, 8), (_RGB, 16))),
    "negated_normals": ("RGB", ((_RGB, 8), (_RGB, 16))),
}
"""What a file of each kind is called, and the colour types and bits that it may have."""

_TYPE_NAMES = {_GRAY: "gray", _RGB: "RGB", _PALETTE: "palette", 4: "gray and alpha", 6: "RGB and alpha"}

_MASK_MODES = ("1", "L", "I;16", "I;16B", "I")

_MAX_MM = 65_535
NEAREST = 65_535
"""The number of an image's nearest in a "relative_depth" target."""


def dense(data: bytes, values: Values) -> Image:
    """A target to be stored byte for byte. Raises Reject: wrong_values, and as `stored` does.

    What is lossy or has another pixel format holds other values than these: a picture of the depth, say.
    """
    header, (name, allowed) = read_header(data), _KINDS[values]
    if header.format != "png":
        why = ", which is lossy: its values are not those that were drawn" if header.format == "jpeg" else ""
        raise Reject("wrong_values", f"{values} come as {name} PNG, this is {header.format} {header.mode}{why}")
    # IHDR comes first in a PNG: 8 bytes of signature, 8 of its own head, width, height, then these two.
    bits, kind = data[24:26]
    if data[12:16] != b"IHDR" or (kind, bits) not in allowed:
        raise Reject("wrong_values", f"{values} come as {name} PNG, this is {bits}-bit {_TYPE_NAMES.get(kind, kind)}")
    return stored("target", data, header)


def dense_on(photo: bytes, data: bytes, values: Values, mask: bytes | None = None) -> tuple[Image, Step]:
    """The target that is drawn on a photo, upright as the photo is to be, and its step "read".

    Its bytes are kept where neither an orientation turns it nor a mask takes values from it. A mask is a gray PNG on
    the map's own grid, 0 where the map has no value. Raises Reject: wrong_values, and as `turn_onto` and `stored` do.
    """
    target = dense(data, values)
    turn = turn_onto(photo, data, "map")
    told: dict[str, Any] = {"turned": True} if turn != 1 else {}
    if mask is None and not told:
        return target, read_step(values)
    raw = numbers(target)
    if mask is not None:
        known = _known(mask, orientation(data))
        if known.shape != raw.shape[:2]:
            sizes = (f"{shape[1]} x {shape[0]} px" for shape in (known.shape, raw.shape))
            raise Reject("size_mismatch", "the mask is {}, its map {}".format(*sizes))
        told["masked"] = round(float(1 - known.mean()), 4)
        if known.all() and turn == 1:
            return target, read_step(values, **told)
        raw = np.where(known if raw.ndim == 2 else known[..., None], raw, raw.dtype.type(0))
    upright = turned(raw, turn)
    return _encoded(vectors_turned(upright, turn) if "normals" in values else upright), read_step(values, **told)


def numbers(image: Image) -> npt.NDArray[Any]:
    """The numbers of a target, H x W or H x W x 3, as its file holds them. Raises Reject: truncated."""
    try:
        if image.mode != "RGB" or image.data[24] != 16:
            return decode_values(image.data)
        # Pillow gives the high bytes of these.
        found = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, Reject) as error:
        raise Reject("truncated", f"{image.role}: {error}") from None
    if found is None:
        raise Reject("truncated", f"{image.role}: its pixels cannot be decoded")
    return np.ascontiguousarray(found[..., ::-1])


def _known(mask: bytes, own_turn: int) -> npt.NDArray[np.bool_]:
    """H x W, true where a mask says that its map has a value.

    FrameNet's loaders take all but 0 for valid: src/dataset.py and src/evaluate_joint.py of
    https://github.com/hjwdzh/FrameNet.
    """
    header = read_header(mask)
    if header.format != "png" or header.mode not in _MASK_MODES:
        raise Reject("wrong_values", f"a mask comes as gray PNG, this is {header.format} {header.mode}")
    if (turn := orientation(mask)) != own_turn:
        raise Reject("turned", f"the mask has EXIF orientation {turn}, its map {own_turn}")
    return numbers(stored("mask", mask, header)) > 0


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


def _encoded(raw: npt.NDArray[Any]) -> Image:
    """A new target of the numbers of another."""
    if raw.ndim == 2:
        return _gray(raw.astype(np.uint16) if raw.dtype == np.int32 else raw)  # Pillow's older versions give 32 bits
    if raw.dtype == np.uint8:
        return encode_lossless("target", raw)
    return stored("target", cv2.imencode(".png", raw[..., ::-1])[1].tobytes())
