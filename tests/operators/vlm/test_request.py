from __future__ import annotations

import pytest

from operators.vlm.request import Request, Usage


def test_a_request_has_an_image_for_each_place_in_its_text() -> None:
    with pytest.raises(AssertionError, match="2 images"):
        Request(prompt="p", text="one <image>", images=(b"a", b"b"), max_tokens=8)


def test_what_an_answer_depends_on_names_images_by_hash() -> None:
    request = Request(prompt="p", text="see <image>", images=(b"",), max_tokens=8)
    said = request.described("model", "revision")
    assert said["images"] == ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]  # sha256 of nothing
    assert said["params"] == {"max_tokens": 8, "temperature": 0}


def test_usage_adds_up() -> None:
    usage = Usage(calls=1, tokens_in=10)
    usage.add(Usage(calls=2, replayed=3, retries=4, tokens_in=5, tokens_out=6))
    assert usage == Usage(calls=3, replayed=3, retries=4, tokens_in=15, tokens_out=6)
