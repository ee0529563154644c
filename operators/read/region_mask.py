"""Masks that sources bring with their pairs: all in one convention, on the grid of the image that they were drawn on.

What a mask means is said at `manifests.schema.MASK`. A pair is as good without its mask as pairs of sources that have
none, so a mask that cannot be used is left out of its pair, and a step says why; the pair is not rejected.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Header, decode_alpha, decode_rgb, encode_lossless, orientation, read_header, stored
from manifests.schema import MASK, MASKED_ABOVE, Image, Pair, Reject, Step
from operators.arrange.grid import turn_onto, turned

Marks = Literal["white", "transparent"]
"""What marks the region in a source's files. "transparent": the picture itself, with a hole where it is edited."""

_COLOURED, _COLOURED_SHARE = 48, 0.01
"""A channel further from another one than this, of 255, at more than this share of the pixels: a picture, no mask. JPEG
at quality 75 moves the channels of grey pixels by less than 3."""

_BETWEEN, _BETWEEN_SHARE = (32, 223), 0.25
"""Values between these at more than this share of the pixels: a grey picture. In the example masks of
https://github.com/HaozheZhao/UltraEdit, images/mask_img.png and those of example_images/, 0.05% at most are."""


def with_mask(pair: Pair, photo: bytes, drawn: bytes | None, marks: Marks) -> Pair:
    """The pair with its mask and the score `mask_area`, or, where the mask cannot be used, a step that says why.

    `photo` is the file of the image that the mask was drawn on, and `drawn` that of the mask, None if there is none. A
    mask of another size, but the same shape, as MagicBrush has them, is brought to the photo's size by the nearest
    pixel (https://github.com/OSU-NLP-Group/MagicBrush/issues/10). One that is what it should be keeps its bytes.
    The step is "read_mask"; its `left_out` is a reason of `Reject`, or one of these: other_shape, no_transparency,
    not_a_mask, nothing_marked, all_marked.
    """
    if drawn is None:
        return pair
    params: dict[str, Any] = {"marks": marks}
    scores = {}
    try:
        image, changes, area = _read(photo, drawn, marks)
        params |= changes
        scores = {"mask_area": area}
        if area in (0.0, 1.0):
            raise Reject("all_marked" if area else "nothing_marked", "it marks no part of the image")
        images = (*pair.images, image)
    except Reject as reject:
        images = pair.images
        params |= {"left_out": reject.reason, "message": reject.message}
    made = () if params == {"marks": "white"} else (Step(operator="read_mask", version=1, params=params),)
    return replace(pair, images=images, scores={**pair.scores, **scores}, steps=(*pair.steps, *made))


def _read(photo: bytes, drawn: bytes, marks: Marks) -> tuple[Image, dict[str, Any], float]:
    """The mask as it is stored, what was changed about it, and the share of its area that is white. Raises Reject."""
    header, own = read_header(drawn), orientation(drawn)
    by, size = _onto(photo, drawn)
    values = _from_transparency(drawn, header) if marks == "transparent" else _from_colours(drawn, header)
    changes: dict[str, Any] = {}
    if by != own:
        values = turned(values, by)
        changes["turned"] = by
    height_px, width_px = values.shape[:2]
    if size != (width_px, height_px):
        values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT))
        changes["from_px"] = [width_px, height_px]
    area = round(float((values > MASKED_ABOVE).mean()), 6)
    if marks == "white" and header.plain and not changes:
        return stored(MASK, drawn, header), {}, area
    changes["mode"] = header.mode
    return encode_lossless(MASK, np.repeat(values[..., None], 3, axis=2)), changes, area


def _onto(photo: bytes, drawn: bytes) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation by which the mask lies on the upright photo, and that photo's width and height."""
    seen, header = read_header(photo), read_header(drawn)
    size, own = (seen.width_px, seen.height_px), (header.width_px, header.height_px)
    if own == size or own == size[::-1]:
        return turn_onto(photo, drawn, "mask"), size
    larger = max(own[0] / size[0], own[1] / size[1])
    most_px = max(1.0, larger, 1 / larger)  # sides are whole numbers of pixels, those of the smaller image's
    if abs(own[1] * size[0] - size[1] * own[0]) > most_px * max(size[0], own[0]):
        raise Reject("other_shape", f"the photo is {size[0]} x {size[1]} px, its mask {own[0]} x {own[1]} px")
    if orientation(photo) != 1 and orientation(drawn) == 1:
        raise Reject("turned", "the photo is turned, and its mask of another size: nothing tells whether that is, too")
    return orientation(drawn), size


def _from_transparency(drawn: bytes, header: Header) -> npt.NDArray[np.uint8]:
    """H x W, 255 where the file is transparent."""
    if not header.transparent:
        raise Reject("no_transparency", f"its mode is {header.mode}, and nothing in it is transparent")
    return 255 - decode_alpha(drawn)


def _from_colours(drawn: bytes, header: Header) -> npt.NDArray[np.uint8]:
    """H x W, as light as the file is where it is opaque; what is transparent is black, as the layers of editors are."""
    pixels = decode_rgb(drawn).astype(np.int16)
    if header.transparent:  # which `decode_rgb` has laid on white
        pixels = np.maximum(pixels - (255 - decode_alpha(drawn).astype(np.int16))[..., None], 0)
    if ((pixels.max(axis=2) - pixels.min(axis=2)) > _COLOURED).mean() > _COLOURED_SHARE:
        raise Reject("not_a_mask", "it is a picture in colours")
    values = np.asarray(np.rint(pixels.mean(axis=2)), np.uint8)
    if ((values >= _BETWEEN[0]) & (values <= _BETWEEN[1])).mean() > _BETWEEN_SHARE:
        raise Reject("not_a_mask", "most of it is neither black nor white")
    return values
