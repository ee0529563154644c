"""Boxes by numbers that were computed by hand, and sizes by transformers' own function."""

from __future__ import annotations

import pytest

from manifests.schema import Reject
from operators.vlm.boxes import Box, Convention, convention_of, in_words, read_box, seen_px
from tests.operators.vlm.test_answers import answer_of

SQUARE = (1_000, 1_000)


@pytest.mark.parametrize(
    "text",
    [
        "120, 300, 560, 910",
        "120,300,560,910",
        "[120, 300, 560, 910]",
        "(120,300),(560,910)",
        "<|box_start|>(120,300),(560,910)<|box_end|>",
        "<box>(120,300),(560,910)</box>",
        '"bbox_2d": [120, 300, 560, 910]',
        "left: 120, top: 300, right: 560, bottom: 910",
        "x1=120 y1=300 x2=560 y2=910",
        "120 300 560 910",
        "120.0, 300.0, 560.0, 910.0",
        "The box [120, 300, 560, 910].",
    ],
)
def test_a_box_is_read_in_any_form(text: str) -> None:
    assert read_box(text, "thousandths", SQUARE, answer_of("")) == (120, 300, 560, 910)


@pytest.mark.parametrize(
    ("text", "convention", "size", "box"),
    [
        ("0, 0, 1000, 1000", "thousandths", (640, 480), (0, 0, 1000, 1000)),
        # 640 x 480 is seen as 644 x 476: 640 / 28 = 22.86, so 23 x 28; 480 / 28 = 17.14, so 17 x 28.
        ("0, 0, 644, 476", "pixels", (640, 480), (0, 0, 1000, 1000)),
        # 161 / 644 = 0.25; 119 / 476 = 0.25; 322 / 644 = 0.5; 357 / 476 = 0.75.
        ("161, 119, 322, 357", "pixels", (640, 480), (250, 250, 500, 750)),
        # 100 / 644 = 0.15528, 50 / 476 = 0.10504, outwards; 200 / 644 = 0.31056, 100 / 476 = 0.21008, outwards.
        ("100, 50, 200, 100", "pixels", (640, 480), (155, 105, 311, 211)),
        # 1,024 / 28 = 36.57, so 37 x 28 = 1,036.
        ("518, 0, 1036, 259", "pixels", (1024, 1024), (500, 0, 1000, 250)),
        # 40 x 40 would be 28 x 28 and is too small: sqrt(3,136 / 1,600) = 1.4 times 40 is 56.
        ("14, 28, 42, 56", "pixels", (40, 40), (250, 500, 750, 1000)),
        ("161, 119, 322, 357", "thousandths", (640, 480), (161, 119, 322, 357)),
    ],
)
def test_a_box_is_kept_in_thousandths_however_it_is_counted(
    text: str, convention: Convention, size: tuple[int, int], box: Box
) -> None:
    assert read_box(text, convention, size, answer_of("")) == box


@pytest.mark.parametrize(
    ("text", "convention"),
    [
        ("", "thousandths"),
        ("on the hat", "thousandths"),
        ("1, 2, 3", "thousandths"),
        ("1, 2, 3, 4, 5", "thousandths"),
        ("1.5, 2, 3, 4", "thousandths"),
        ("0.12, 0.3, 0.56, 0.91", "thousandths"),
        ("-1, 2, 3, 4", "thousandths"),
        ("1, 2, 3, 1001", "thousandths"),
        ("1, 2, 1, 4", "thousandths"),
        ("1, 4, 3, 4", "thousandths"),
        ("1, 4, 3, 2", "thousandths"),
        ("3, 2, 1, 4", "thousandths"),
        ("12%, 30%, 56%, 91%", "thousandths"),
        ("1, 2, 3, 4 of a 5 px image", "thousandths"),
        ("١, ٢, ٣, ٤", "thousandths"),
        ("0, 0, 99999999999, 1", "thousandths"),
        ("0, 0, 645, 476", "pixels"),
        ("0, 0, 644, 477", "pixels"),
        ("100, 50, 100, 100", "pixels"),
    ],
)
def test_a_box_that_looks_wrong_is_a_reject_with_the_raw_text(text: str, convention: Convention) -> None:
    with pytest.raises(Reject) as caught:
        read_box(text, convention, (640, 480), answer_of("said"))
    assert (caught.value.reason, caught.value.message) == ("unparsed", "said")


@pytest.mark.parametrize(
    ("model", "convention"),
    [
        ("Qwen/Qwen2-VL-7B-Instruct", "thousandths"),
        ("models/tiny/qwen2-vl", "thousandths"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "pixels"),
        ("qwen2_5-vl-72b", "pixels"),
        ("Qwen/Qwen3-VL-8B-Instruct", "thousandths"),
        ("gpt-4o", "none"),
        ("gpt-4o-2024-08-06", "none"),
        ("m", "thousandths"),
    ],
)
def test_the_family_is_told_by_the_name(model: str, convention: Convention) -> None:
    assert convention_of(model) == convention


def test_the_prompt_says_how_to_count() -> None:
    assert "from 0 to 1000" in in_words("thousandths", (640, 480))
    assert "in pixels of the image, which is 644 wide and 476 high" in in_words("pixels", (640, 480))


def test_an_image_is_seen_as_large_as_transformers_makes_it() -> None:
    resize = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl").smart_resize
    sides = (6, 13, 27, 40, 56, 98, 480, 640, 1_000, 1_023, 1_024)
    for width_px in sides:
        for height_px in sides:
            height, width = resize(height_px, width_px, factor=28, min_pixels=3_136, max_pixels=12_845_056)
            assert seen_px((width_px, height_px)) == (width, height)
