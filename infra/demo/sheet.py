"""What the demo shows at its end: the contact sheet, and the table of PSNR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from infra.demo.tokenizer import psnr_db
from manifests.images.pixels import Pixels

_ZOOM = 2
_GAP_PX, _LINE_PX = 6, 14
_COLUMNS = {
    "context_in": "context in",
    "context_out": "context out",
    "query": "query",
    "answer": "answer",
    "after_other": "wrong example",
    "bound": "truth, tokenized",
    "truth": "truth",
}
"""The pictures of a row, from left to right, by the fields of Answer, and what stands above."""


@dataclass(kw_only=True)
class Answer:
    """A question, what the model answered, and what would have been right: squares of one size."""

    task: str
    context_in: Pixels
    context_out: Pixels
    query: Pixels
    answer: Pixels
    after_other: Pixels
    """The answer after an example of another task, all else being the same."""
    after_none: Pixels
    """The answer without an example."""
    bound: Pixels
    """The truth through the tokenizer and back: no answer of right codes is nearer to it."""
    truth: Pixels

    def psnr_db(self, name: str) -> float:
        """Of one of the pictures to the truth, dB."""
        return psnr_db(getattr(self, name), self.truth)


_SCORED = {
    "query": "query",
    "answer": "answer",
    "after_other": "after another task's example",
    "after_none": "without an example",
    "bound": "bound (truth, tokenized)",
}


def table(answers: Sequence[Answer]) -> str:
    """Mean PSNR to the truth by task, dB, in Markdown."""
    lines = [f"| task | n | {' | '.join(_SCORED.values())} |", "|---" * (2 + len(_SCORED)) + "|"]
    for task in dict.fromkeys(answer.task for answer in answers):
        of_task = [answer for answer in answers if answer.task == task]
        means = [float(np.mean([answer.psnr_db(name) for answer in of_task])) for name in _SCORED]
        lines.append(f"| {task} | {len(of_task)} | {' | '.join(f'{mean:.1f} dB' for mean in means)} |")
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
    for column, title in enumerate(_COLUMNS.values()):
        draw.text((_GAP_PX + column * (side + _GAP_PX), 1), title, "black")
    for row, one in enumerate(shown):
        y = _LINE_PX + row * (side + _LINE_PX + _GAP_PX)
        for column, name in enumerate(_COLUMNS):
            x = _GAP_PX + column * (side + _GAP_PX)
            large = PILImage.fromarray(getattr(one, name)).resize((side, side), PILImage.Resampling.NEAREST)
            sheet.paste(large, (x, y))
            below = f"{one.psnr_db(name):.1f} dB" if name in _SCORED else one.task if column == 0 else ""
            draw.text((x, y + side + 1), below, "black")
    sheet.save(file, optimize=True)
