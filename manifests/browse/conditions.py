"""Conditions of an HTTP request on what the client has already (RFC 9110, section 13), by entity tags."""

from __future__ import annotations

import re

_OPAQUE_TAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')  # section 8.8.3


def has_it(if_none_match: str | None, etag: str) -> bool:
    """Whether a header field If-None-Match names the tag of the answer, which then is a 304 (section 13.1.2).

    A weak tag of the same name is the same here.
    """
    named = (if_none_match or "").strip(" \t")
    return named == "*" or etag in _OPAQUE_TAG.findall(named)


def may_have_a_part(if_range: str | None, etag: str | None) -> bool:
    """Whether a range may be sent: no header field If-Range forbids it, or it has the tag of the answer.

    Of another answer a part would be no part of what the client has (section 13.1.5). Weak tags and dates are none of
    ours.
    """
    return if_range is None or if_range.strip(" \t") == etag
