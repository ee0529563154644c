"""What a vision-language model is shown of a pair, and how what it answers is read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import cv2

from manifests.images.pixels import decode_rgb, encode_lossless, read_header, reduced
from manifests.schema import Pair, Reject
from operators.vlm.request import Request
from operators.vlm.responses import Answer

MAX_SIDE_PX = 1_024
"""The longest side of an image that is shown: about 1,370 tokens of Qwen2-VL. A larger image is shown scaled down."""

_FORMATS = ("jpeg", "png", "webp")  # what servers take
_MODES = ("L", "RGB", "RGBA")
_MAX_TEXT_CHARS = 4_000  # of one text in an answer
_BOX = re.compile(r"(\d{1,4}), ?(\d{1,4}), ?(\d{1,4}), ?(\d{1,4})", re.ASCII)

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in thousandths of an image's width and height, as Qwen2-VL counts (arXiv 2409.12191)."""


def shown(pair: Pair, role: str) -> bytes:
    """A pair's image as a file that servers take, its own bytes where they do. Raises Reject if it cannot be decoded.

    It is looked through to its end before: a server would answer a cut-off file with an error that ends the run.
    """
    image = pair.image(role)
    assert image, f"{pair.key} has no {role}"
    reduced(image.data)
    header = read_header(image.data)
    side_px = max(header.width_px, header.height_px)
    if side_px <= MAX_SIDE_PX and header.upright and header.format in _FORMATS and header.mode in _MODES:
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


def read_json(answer: Answer, keys: Collection[str]) -> dict[str, str]:
    """The texts in an answer that is one JSON object with exactly these keys. Raises Reject, unparsed, for any other.

    The fence that models like to put around JSON is taken off; nothing else is repaired.
    """
    text = answer.text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise _unparsed(answer) from None
    if not isinstance(record, dict) or set(record) != set(keys):
        raise _unparsed(answer)
    return {key: _text(value, answer) for key, value in record.items()}


def read_lines(answer: Answer, labels: Collection[str]) -> dict[str, str]:
    """The texts in an answer of one line a label, "Label: text", in that order. Raises Reject, unparsed, otherwise."""
    lines = [line.strip() for line in answer.text.strip().splitlines() if line.strip()]
    if len(lines) != len(labels):
        raise _unparsed(answer)
    texts = {}
    for label, line in zip(labels, lines, strict=True):
        said, colon, text = line.partition(":")
        if said.strip() != label or not colon:
            raise _unparsed(answer)
        texts[label] = _text(text, answer)
    return texts


def one_of(value: str, allowed: Collection[str], answer: Answer) -> str:
    """The value, if it is allowed. Raises Reject, unparsed, with the raw answer, otherwise."""
    if value not in allowed:
        raise _unparsed(answer)
    return value


def read_box(value: str, answer: Answer) -> Box:
    """The box that a text like "120, 300, 560, 910" names. Raises Reject, unparsed, for any other and an empty box."""
    match = _BOX.fullmatch(value)
    if not match:
        raise _unparsed(answer)
    left, top, right, bottom = map(int, match.groups())
    if not (left < right <= 1_000 and top < bottom <= 1_000):
        raise _unparsed(answer)
    return left, top, right, bottom


def _text(value: Any, answer: Answer) -> str:
    """One line of text without control characters."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text or len(text) > _MAX_TEXT_CHARS or not text.isprintable():
        raise _unparsed(answer)
    return text


def _unparsed(answer: Answer) -> Reject:
    return Reject("unparsed", answer.text)
