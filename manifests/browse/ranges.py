"""Ranges of bytes of an HTTP answer (RFC 9110, section 14): what a client asks for, and what it gets."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,100})-([0-9]{0,100})[ \t]*", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """No byte of what is asked for is there: the answer is a 416."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The bytes from `first` to `last`, both included, of `size`."""

    first: int
    last: int
    size: int

    @property
    def content_range(self) -> str:
        """The header field Content-Range of a 206."""
        return f"bytes {self.first}-{self.last}/{self.size}"


def asked_range(header: str | None, size: int) -> Range | None:
    """The one range of a header field Range, of `size` bytes; None if all of them are the answer.

    That they are if there is no such field, or one that a server may ignore: of another unit, of several ranges, or
    not of the grammar (section 14.2). Raises Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many bytes
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if match[2] and int(match[2]) < first:
            return None
    if first > last:
        raise Unsatisfiable(f"there are {size:,} bytes")
    return Range(first=first, last=last, size=size)
