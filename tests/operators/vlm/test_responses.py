from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.vlm.responses import Answer, Responses

ANSWER = Answer(text="Ja: ‹ü›\n", model="m-2026", finish_reason="stop", tokens_in=3, tokens_out=2)


@pytest.mark.parametrize("url", ["{}", "memory://responses{}"])
def test_an_answer_comes_back_as_it_was(url: str, tmp_path: Path) -> None:
    responses = Responses(url.format(tmp_path))
    assert responses.get("ab" * 32) is None
    responses.put("ab" * 32, {"prompt": "p"}, ANSWER)
    assert responses.get("ab" * 32) == ANSWER
    assert responses.get("ac" * 32) is None


def test_a_file_holds_request_and_answer_and_nothing_of_time_or_place(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        Responses(str(tmp_path / folder)).put("ab" * 32, {"prompt": "p"}, ANSWER)
    one, other = (tmp_path / folder / "ab" / f"{'ab' * 32}.json" for folder in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert set(json.loads(one.read_text())) == {"request", "answer"}
    assert [path.name for path in (tmp_path / "one").rglob("*") if path.is_file()] == [one.name]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"answer": {"text": 1}}', b"[]", b"null", b"\xff"])
def test_a_damaged_file_is_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ab" / f"{'ab' * 32}.json"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(OSError, match="is damaged") as caught:
        Responses(str(tmp_path)).get("ab" * 32)
    assert str(path) in str(caught.value)
