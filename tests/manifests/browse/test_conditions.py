"""Conditions of requests as RFC 9110 has them: its own examples, and by hand."""

from __future__ import annotations

import pytest

from manifests.browse.conditions import has_it, may_have_a_part


@pytest.mark.parametrize(
    "header",
    # Section 13.1.2; spaces and empty members of a list by section 5.6.1.
    ['"xyzzy"', 'W/"xyzzy"', '"xyzzy", "r2d2xxxx", "c3piozzzz"', 'W/"r2d2xxxx",W/"xyzzy"', ', "xyzzy" ,', "*", " * "],
)
def test_what_a_client_has(header: str) -> None:
    assert has_it(header, '"xyzzy"')


@pytest.mark.parametrize(
    "header", [None, "", "xyzzy", '"xyzz"', '"xyzzy', '"other", "r2d2xxxx"', "**", '"*"', '"\\"xyzzy"']
)
def test_what_it_does_not_have(header: str | None) -> None:
    assert not has_it(header, '"xyzzy"')


def test_a_part_is_of_what_the_client_has() -> None:
    assert may_have_a_part(None, '"xyzzy"')
    assert may_have_a_part(None, None)
    assert may_have_a_part(' "xyzzy" ', '"xyzzy"')
    # A weak tag never, nor a date that is none of ours (section 13.1.5).
    for other in ('"other"', 'W/"xyzzy"', "Sat, 29 Oct 1994 19:43:31 GMT", "*", "", '"xyzzy", "other"'):
        assert not may_have_a_part(other, '"xyzzy"')
        assert not may_have_a_part(other, None)
