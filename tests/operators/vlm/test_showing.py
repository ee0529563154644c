from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb, read_header, stored
from manifests.schema import Reject
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer
from operators.vlm.showing import MAX_SIDE_PX, one_of, read_box, read_json, read_lines, shown, tokens_in
from tests.sources import encode, encode_image, jpeg, pair_of, photo, turned_jpeg


def _answer(text: str) -> Answer:
    return Answer(text=text, model="m", finish_reason="stop", tokens_in=1, tokens_out=1)


def test_a_plain_image_is_shown_byte_for_byte() -> None:
    for data in (jpeg(1), encode(photo(1), "PNG"), encode(photo(1), "WEBP")):
        assert shown(pair_of(stored("target", data)), "target") is data


@pytest.mark.parametrize("kind", ["turned", "tiff", "16 bit", "cmyk"])
def test_what_servers_may_not_take_is_shown_as_upright_png(kind: str) -> None:
    deep = PILImage.fromarray((np.arange(48 * 40).reshape(40, 48) * 16).astype(np.uint16))
    data = {
        "turned": lambda: turned_jpeg(photo(1), 6),
        "tiff": lambda: encode(photo(1), "TIFF"),
        "16 bit": lambda: encode_image(deep),
        "cmyk": lambda: encode_image(PILImage.fromarray(photo(1)).convert("CMYK"), "JPEG"),
    }[kind]()
    seen = shown(pair_of(stored("target", data)), "target")
    assert read_header(seen).format == "png" and read_header(seen).upright
    assert np.array_equal(decode_rgb(seen), decode_rgb(data))


def test_a_large_image_is_scaled_down() -> None:
    large = np.repeat(np.repeat(photo(1), 40, axis=0), 40, axis=1)
    seen = read_header(shown(pair_of(stored("target", encode(large, "JPEG"))), "target"))
    assert (seen.width_px, seen.height_px) == (MAX_SIDE_PX, round(MAX_SIDE_PX * 40 / 48))


def test_a_cut_off_image_is_a_reject_and_not_a_request() -> None:
    with pytest.raises(Reject) as caught:
        shown(pair_of(stored("target", jpeg(1)[:-300])), "target")
    assert caught.value.reason == "truncated"


def test_tokens_are_counted_as_qwen2_vl_does() -> None:
    """56 x 29 px are 2 x 2 patches of 28 px."""
    image = encode(np.zeros((29, 56, 3), np.uint8))
    prompt = Prompt(id="p", text="<image>" + "x" * 33, max_tokens=5)
    assert tokens_in(Request.of(prompt, [image])) == 4 + 10


@pytest.mark.parametrize(
    "text", ['{"a": "x y", "b": "z"}', '```json\n{"a": " x\\ny", "b": "z"}\n```', '\n{"b":"z","a":"x y"} ']
)
def test_json_is_read(text: str) -> None:
    assert read_json(_answer(text), ("a", "b")) == {"a": "x y", "b": "z"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        '{"a": "x"}',
        '{"a": "x", "b": "y", "c": "z"}',
        '{"a": "x", "b": ""}',
        '{"a": "x", "b": 3}',
        '{"a": "x", "b": null}',
        '{"a": "x", "b": "y"} Hope this helps!',
        '["a", "b"]',
        '{"a": "x", "b": "\\u0000"}',
        '{"a": "x", "b": "' + "y" * 5_000 + '"}',
        "[" * 100_000,
        "```",
    ],
)
def test_any_other_json_is_a_reject_with_the_raw_text(text: str) -> None:
    with pytest.raises(Reject) as caught:
        read_json(_answer(text), ("a", "b"))
    assert (caught.value.reason, caught.value.message) == ("unparsed", text)


def test_labelled_lines_are_read() -> None:
    text = " Reasoning: the sky: it is blue \n\nAnswer: Yes\n"
    assert read_lines(_answer(text), ("Reasoning", "Answer")) == {"Reasoning": "the sky: it is blue", "Answer": "Yes"}


@pytest.mark.parametrize(
    "text", ["", "Yes", "Answer: Yes\nReasoning: x", "Reasoning: x\nAnswer: Yes\nBye", "Reasoning:\nAnswer: Yes"]
)
def test_other_lines_are_a_reject_with_the_raw_text(text: str) -> None:
    with pytest.raises(Reject) as caught:
        read_lines(_answer(text), ("Reasoning", "Answer"))
    assert (caught.value.reason, caught.value.message) == ("unparsed", text)


def test_a_word_that_is_not_offered_is_a_reject() -> None:
    answer = _answer("Answer: Maybe")
    assert one_of("Yes", ("Yes", "No"), answer) == "Yes"
    with pytest.raises(Reject, match="Answer: Maybe"):
        one_of("Maybe", ("Yes", "No"), answer)


def test_a_box_is_read() -> None:
    assert read_box("120, 300, 560, 910", _answer("")) == (120, 300, 560, 910)
    assert read_box("0,0,1000,1000", _answer("")) == (0, 0, 1000, 1000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Everywhere",
        "1, 2, 3",
        "1, 2, 3, 4, 5",
        "1.5, 2, 3, 4",
        "-1, 2, 3, 4",
        "1, 2, 3, 1001",
        "1, 2, 1, 4",
        "1, 4, 3, 2",
        "[1, 2, 3, 4]",
        "1 2 3 4",
        "١, ٢, ٣, ٤",
        "0, 0, 99999999999, 1",
    ],
)
def test_any_other_box_is_a_reject_with_the_raw_text(text: str) -> None:
    with pytest.raises(Reject) as caught:
        read_box(text, _answer("said"))
    assert (caught.value.reason, caught.value.message) == ("unparsed", "said")
