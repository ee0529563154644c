"""What the demo shows at its end: the contact sheet, and the table of PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from infra.demo.tokenizer import psnr_db
from manifests.images.pixels import Pixels

_ZOOM = 2
_GAP_PX, _LINE_PX = 6, 14
_COLUMNS = ("context in", "context out", "query", "answer", "truth, tokenized", "truth")


@dataclass(kw_only=True)
class Answer:
    """A question, what the model answered, and what would have been right: squares of one size."""

    FILES: ClassVar[tuple[str, ...]] = ("context_in", "context_out", "query", "answer", "truth")

    task: str
    context_in: Pixels
    context_out: Pixels
    query: Pixels
    answer: Pixels
    truth: Pixels
    bound: Pixels = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    """The truth through the tokenizer and back: no answer of right codes is nearer to it."""

    @property
    def psnr_db(self) -> tuple[float, float, float]:
        """Of the query, the answer and the bound, each to the truth, dB."""
        query, answer, bound = (psnr_db(one, self.truth) for one in (self.query, self.answer, self.bound))
        return query, answer, bound


def table(answers: Sequence[Answer]) -> str:
    """Mean PSNR to the truth by task, dB, in Markdown."""
    lines = ["| task | held-out crops | query | answer | bound (truth, tokenized) |", "|---|---|---|---|---|"]
    for task in dict.fromkeys(answer.task for answer in answers):
        of_task = [answer.psnr_db for answer in answers if answer.task == task]
        query, answer, bound = np.mean(of_task, 0)
        lines.append(f"| {task} | {len(of_task)} | {query:.1f} dB | {answer:.1f} dB | {bound:.1f} dB |")
    return "\n".join(lines)


def draw_sheet(file: Path, answers: Sequence[Answer], rows: int) -> None:
    """A PNG with the first `rows` answers of each task, a row each; below a picture its PSNR to the truth."""
    shown = [
        one
        for task in dict.fromkeys(answer.task for answer in answers)
        for one in [answer for answer in answers if answer.task == task][:rows]
    ]
    side = _ZOOM * len(shown[0].truth)
    width = len(_COLUMNS) * (side + _GAP_PX) + _GAP_PX
    sheet = PILImage.new("RGB", (width, _LINE_PX + len(shown) * (side + _LINE_PX + _GAP_PX)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(_COLUMNS):
        draw.text((_GAP_PX + column * (side + _GAP_PX), 1), name, "black")
    for row, one in enumerate(shown):
        y = _LINE_PX + row * (side + _LINE_PX + _GAP_PX)
        query, answer, bound = (f"{value:.1f} dB" for value in one.psnr_db)
        texts = (one.task, "", query, answer, bound, "")
        pictures = (one.context_in, one.context_out, one.query, one.answer, one.bound, one.truth)
        for column, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
            x = _GAP_PX + column * (side + _GAP_PX)
            large = PILImage.fromarray(picture).resize((side, side), PILImage.Resampling.NEAREST)
            sheet.paste(large, (x, y))
            draw.text((x, y + side + 1), text, "black")
    sheet.save(file, optimize=True)
