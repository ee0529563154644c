"""Ranges as RFC 9110 has them: its own examples, and by hand."""

from __future__ import annotations

import pytest

from manifests.browse.ranges import Range, Unsatisfiable, asked_range


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        # Section 14.1.2, of a representation of 10,000 bytes.
        ("bytes=0-499", 0, 499),
        ("bytes=500-999", 500, 999),
        ("bytes=-500", 9500, 9999),
        ("bytes=9500-", 9500, 9999),
        ("bytes=0-0", 0, 0),
        ("bytes=-1", 9999, 9999),
        # More than there is: to its end; a unit's case does not matter (section 14.1).
        ("bytes=9999-20000", 9999, 9999),
        ("bytes=-20000", 0, 9999),
        ("Bytes=1-2", 1, 2),
        ("bytes=5-99999999999999999999999999", 5, 9999),
    ],
)
def test_one_range(header: str, first: int, last: int) -> None:
    asked = asked_range(header, 10_000)
    assert asked == Range(first=first, last=last, size=10_000)
    assert asked.content_range == f"bytes {first}-{last}/10000"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=1-2,4-5",
        "lines=1-2",
        "bytes=1--2",
        "0-4",
    ],
)
def test_what_is_ignored(header: str | None) -> None:
    assert asked_range(header, 10_000) is None


@pytest.mark.parametrize("header", ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=99999999999999999999-"])
def test_what_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        asked_range(header, 10_000)
