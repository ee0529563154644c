"""An image as a vision-language model is asked about it, so that what was asked can be found again by its sha256."""

from __future__ import annotations

import cv2

from manifests.images.pixels import decode_rgb, encode_lossless, read_header, reduced

MAX_SIDE_PX = 1_024
"""The longest side of an image that is shown: about 1,370 tokens of Qwen2-VL. A larger image is shown scaled down."""

_FORMATS = ("jpeg", "png", "webp")  # what servers take


def as_asked(data: bytes) -> bytes:
    """An image's file as servers take it: its own bytes where they do. Raises Reject if it cannot be decoded.

    It is looked through to its end before: a server would answer a cut-off file with an error that ends the run.
    """
    reduced(data)
    header = read_header(data)
    side_px = max(header.width_px, header.height_px)
    if side_px <= MAX_SIDE_PX and header.plain and header.format in _FORMATS:
        return data
    pixels = decode_rgb(data)
    if side_px > MAX_SIDE_PX:
        scale = MAX_SIDE_PX / side_px
        size = max(1, round(header.width_px * scale)), max(1, round(header.height_px * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(pixels.dtype)
    return encode_lossless("asked", pixels).data
