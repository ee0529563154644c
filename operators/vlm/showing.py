"""What a vision-language model is shown of a pair. How what it answers is read: operators/vlm/answers.py."""

from __future__ import annotations

import cv2

from manifests.images.pixels import decode_rgb, encode_lossless, read_header, reduced
from manifests.schema import Pair
from operators.vlm.request import Request

MAX_SIDE_PX = 1_024
"""The longest side of an image that is shown: about 1,370 tokens of Qwen2-VL. A larger image is shown scaled down."""

_FORMATS = ("jpeg", "png", "webp")  # what servers take


def shown(pair: Pair, role: str) -> bytes:
    """A pair's image as a file that servers take, its own bytes where they do. Raises Reject if it cannot be decoded.

    It is looked through to its end before: a server would answer a cut-off file with an error that ends the run.
    """
    image = pair.image(role)
    assert image, f"{pair.key} has no {role}"
    reduced(image.data)
    header = read_header(image.data)
    side_px = max(header.width_px, header.height_px)
    if side_px <= MAX_SIDE_PX and header.plain and header.format in _FORMATS:
        return image.data
    pixels = decode_rgb(image.data)
    if side_px > MAX_SIDE_PX:
        scale = MAX_SIDE_PX / side_px
        size = max(1, round(header.width_px * scale)), max(1, round(header.height_px * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(pixels.dtype)
    return encode_lossless(role, pixels).data


def tokens_in(request: Request) -> float:
    """About how many tokens a request has, as Qwen2-VL counts (a token is 28 x 28 px, or some 4 characters)."""
    headers = [read_header(image) for image in request.images]
    images = sum(-(-header.width_px // 28) * -(-header.height_px // 28) for header in headers)
    return images + len(request.text) / 4
