"""Draws in-context examples as a model reads them: the example before and after, the query, the answer.

    python -m infra.docs.rows data/derain data/lowlight --out infra/docs/pictures/context-query-answer.webp

One row a dataset: its first pair whose in-context example is of another photo and has both images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from manifests import Dataset
from manifests.read.pairs import StoredExample

_SIDE_PX, _GAP_PX, _HEAD_PX, _LINE_PX = 200, 12, 34, 28
_INK, _PAPER = "#1c2330", "#ffffff"
_HEADS = ("in-context example", "", "query", "answer")


def _shown(url: str) -> StoredExample:
    for pair in Dataset(url).pairs():
        example = pair.example("forward", "generate")
        context = example.context()
        if context and context.pair.record["source_group"] != pair.record["source_group"]:
            return example
    raise ValueError(f"{url} has no pair with an in-context example of another photo")


def draw(urls: list[str]) -> Image.Image:
    """The picture. Raises ValueError for a dataset without such a pair, DatasetError for one that cannot be read."""
    row_px = _SIDE_PX + _LINE_PX + _GAP_PX
    size = (4 * _SIDE_PX + 5 * _GAP_PX, _HEAD_PX + len(urls) * row_px)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    lefts = [_GAP_PX + number * (_SIDE_PX + _GAP_PX) for number in range(4)]
    for left, head in zip(lefts, _HEADS, strict=True):
        pen.text((left, 9), head, _INK, font)
    for number, example in enumerate(map(_shown, urls)):
        context = example.context()
        assert context and context.output and example.output
        top = _HEAD_PX + number * row_px
        pictures = [(context, context.inputs[0]), (context, context.output)]
        pictures += [(example, example.inputs[0]), (example, example.output)]
        for left, (of, role) in zip(lefts, pictures, strict=True):
            sheet.paste(Image.fromarray(of.pair.image(role)).resize((_SIDE_PX, _SIDE_PX)), (left, top))
        pen.text((lefts[0], top + _SIDE_PX + 5), context.instruction, _INK, font)
        pen.text((lefts[2], top + _SIDE_PX + 5), example.instruction, _INK, font)
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw(options.datasets).save(options.out, quality=85, method=6)
