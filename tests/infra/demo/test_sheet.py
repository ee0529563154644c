"""The contact sheet and its table, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from infra.demo.sheet import Answer, draw_sheet, table
from manifests.images.pixels import Pixels


def _grey(level: int) -> Pixels:
    return np.full((8, 8, 3), level, np.uint8)


def _answer(task: str, answer: int) -> Answer:
    return Answer(
        task=task,
        context_in=_grey(1),
        context_out=_grey(2),
        query=_grey(100),
        answer=_grey(answer),
        after_other=_grey(answer - 50),
        after_none=_grey(answer - 60),
        bound=_grey(199),
        truth=_grey(200),
    )


def test_psnr_is_that_of_the_definition() -> None:
    by_hand = [20 * np.log10(255 / difference) for difference in (100, 10, 60, 70, 1)]
    names = ("query", "answer", "after_other", "after_none", "bound")
    assert [_answer("derain", 190).psnr_db(name) for name in names] == pytest.approx(by_hand)


def test_the_table_has_the_mean_of_each_task() -> None:
    answers = [_answer("derain", 190), _answer("denoise", 180), _answer("derain", 199)]
    lines = table(answers).splitlines()[2:]
    assert lines == [
        # (28.13 + 48.13) / 2; of 60 and 51, 12.57 and 13.98; of 70 and 61, 11.23 and 12.42
        "| derain | 2 | 8.1 dB | 38.1 dB | 13.3 dB | 11.8 dB | 48.1 dB |",
        "| denoise | 1 | 8.1 dB | 22.1 dB | 11.2 dB | 10.1 dB | 48.1 dB |",
    ]


def test_the_sheet_has_a_row_for_each_and_its_pictures_in_their_places(tmp_path: Path) -> None:
    draw_sheet(tmp_path / "sheet.png", [_answer("derain", 190), _answer("derain", 191), _answer("denoise", 180)], 1)
    sheet = np.asarray(PILImage.open(tmp_path / "sheet.png"))
    assert sheet.shape == (14 + 2 * (16 + 14 + 6), 6 + 7 * (16 + 6), 3)
    for row, answer in enumerate((190, 180)):
        levels = [int(sheet[14 + row * 36 + 8, 6 + column * 22 + 8, 0]) for column in range(7)]
        assert levels == [1, 2, 100, answer, answer - 50, 199, 200]
