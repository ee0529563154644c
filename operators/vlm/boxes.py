"""Boxes in images, as families of vision-language models count them.

    thousandths   of the image's width and height: Qwen2-VL (arXiv 2409.12191, section 2.1) and Qwen3-VL
    pixels        of the image as the model sees it, which is not always as it was sent: Qwen2.5-VL (arXiv 2502.13923,
                  section 2.1.1)
    none          the model is not asked for a box: GPT-4o and its like describe well and localise poorly

What a box is kept as does not depend on the family: thousandths, `Box`.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from operators.vlm.answers import unparsed
from operators.vlm.responses import Answer

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in thousandths of an image's width and height."""

Size = tuple[int, int]
"""Width and height of an image, in pixels."""

Convention = Literal["thousandths", "pixels", "none"]

_FAMILIES: tuple[tuple[str, Convention], ...] = (
    (r"qwen-?2[._-]5-?vl", "pixels"),
    (r"\bgpt-|\bo[134]\b|chatgpt", "none"),
)
_GRID_PX = 28
"""Qwen2.5-VL sees images whose sides are multiples of this: patches of 14 px, merged two by two."""

_LEAST_PX = 56 * 56
"""And of so many pixels at the least: min_pixels of its preprocessor_config.json. Of its most we send a twelfth."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_TAGS = re.compile(r"<\|?/?box(?:_start|_end)?\|?>|bbox_2d|\b[xy]_?[12]\b")
_AROUND = re.compile(
    r"(?:\b(?:the|box|bounding|left|top|right|bottom|[xy]_?min|[xy]_?max|px|pixels|and|to|at|from)\b|"
    r"[\s\[\](){}\"':=,;.-])*",
    re.IGNORECASE,
)
"""What may stand around the numbers."""


def convention_of(model: str) -> Convention:
    """How a model counts, by its name. One of an unknown family is asked for thousandths, as the prompt says."""
    return next(
        (convention for family, convention in _FAMILIES if re.search(family, model, re.IGNORECASE)), "thousandths"
    )


def in_words(convention: Convention, size: Size) -> str:
    """What the prompt says of how a box in an image is to be written."""
    numbers = "four whole numbers with commas between them: left, top, right, bottom,"
    if convention == "pixels":
        width_px, height_px = seen_px(size)
        return f"{numbers} in pixels of the image, which is {width_px} wide and {height_px} high"
    return f"{numbers} from 0 to 1000, in thousandths of the image's width and height"


def read_box(value: str, convention: Convention, size: Size, answer: Answer) -> Box:
    """The box that a text like "120, 300, 560, 910" names, in thousandths of the image.

    Brackets, names of the sides and the tags of Qwen-VL may stand around the numbers. Raises Reject, unparsed, for any
    other text, and for a box that looks wrong: not of whole numbers, outside of the image, with its left side right of
    its right one, or of no area. Such a box would have another place painted than was meant.
    """
    value = _TAGS.sub(" ", value)
    numbers = [float(number) for number in _NUMBER.findall(value)]
    if len(numbers) != 4 or not all(map(float.is_integer, numbers)) or not _AROUND.fullmatch(_NUMBER.sub(" ", value)):
        raise unparsed(answer)
    left, top, right, bottom = map(int, numbers)
    width, height = seen_px(size) if convention == "pixels" else (1_000, 1_000)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise unparsed(answer)
    return left * 1_000 // width, top * 1_000 // height, -(-right * 1_000 // width), -(-bottom * 1_000 // height)


def seen_px(size: Size) -> Size:
    """The size in which Qwen2.5-VL sees an image: to the next multiples of its grid, and not too small.

    As smart_resize of transformers (models/qwen2_vl/image_processing_qwen2_vl.py) does it within what we send.
    """
    width, height = (round(side / _GRID_PX) * _GRID_PX for side in size)
    if width * height < _LEAST_PX:
        scale = math.sqrt(_LEAST_PX / (size[0] * size[1]))
        width, height = (math.ceil(side * scale / _GRID_PX) * _GRID_PX for side in size)
    return width, height
