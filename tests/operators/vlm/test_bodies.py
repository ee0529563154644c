"""Bodies of responses, against zlib and gzip as the standard library has them."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator

import pytest

from operators.vlm import bodies
from operators.vlm.bodies import BadBody

TEXT = random.Random(0).randbytes(5_000) + b"word " * 5_000


async def _sent(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def _read(body: bytes, encoding: str = "", size: int = 1_000) -> bytes:
    return asyncio.run(bodies.read(_sent(body, size), encoding))


@pytest.mark.parametrize("size", [1, 1_000, 100_000])
def test_a_body_is_what_was_encoded(size: int) -> None:
    for encoding, body in {
        "": TEXT,
        "Identity": TEXT,
        "gzip": gzip.compress(TEXT),
        "x-gzip": gzip.compress(TEXT),
        "deflate": zlib.compress(TEXT),
    }.items():
        assert _read(body, encoding, size) == TEXT
        assert _read(b"", encoding) == b""


@pytest.mark.parametrize("size", [1, 1_000])
def test_the_bound_is_exact(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for most, whole in ((len(TEXT), True), (len(TEXT) - 1, False)):
        monkeypatch.setattr(bodies, "MOST_BYTES", most)
        for encoding, body in (("", TEXT), ("gzip", gzip.compress(TEXT))):
            if whole:
                assert _read(body, encoding, size) == TEXT
                continue
            with pytest.raises(BadBody, match="a body of over"):
                _read(body, encoding, size)


def test_what_comes_after_the_end_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes that stand for nothing there is no end either."""
    monkeypatch.setattr(bodies, "MOST_BYTES", 100_000)
    with pytest.raises(BadBody, match="a body of over"):
        _read(gzip.compress(b"x") + bytes(200_000), "gzip")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "what"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(BadBody, match="not asked for"):
        _read(TEXT, encoding)


def test_what_is_not_what_its_header_says_is_refused() -> None:
    with pytest.raises(BadBody, match="a body that is not gzip"):
        _read(TEXT, "gzip")


@pytest.mark.parametrize("one", [b"{},", b"[],", b"0,", b'"a":1,', b"[" * 900 + b"]" * 900 + b","])
def test_a_body_of_very_many_values_is_refused(one: bytes) -> None:
    """They are few bytes each, but a Python object each."""
    body = b'{"choices":[' + one * (2_000_000 // len(one)) + b"0]}"
    with pytest.raises(BadBody, match="a body of over 65,536 values"):
        _read(body, size=2**20)
    assert _read(b'{"choices":[' + one * 70 + b"0]}")
