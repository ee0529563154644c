"""What reviewers come to together."""

from __future__ import annotations

import pytest

from manifests.choose.decisions import Standing
from manifests.choose.verdict import verdict

EXAMPLE = ("forward", "generate")


@pytest.mark.parametrize(
    ("said", "filters"),
    [
        ("", ["undecided"]),
        ("keep", ["kept"]),
        ("drop drop keep", ["dropped", "disagree"]),
        ("keep fix:x drop", ["kept", "disagree"]),
        ("keep drop", ["disputed", "disagree"]),
        ("flag", ["undecided", "flagged"]),
        ("flag drop", ["dropped", "flagged"]),
        ("fix:x fix:x fix:y", ["kept", "disagree"]),
        ("fix:x fix:y", ["disputed", "disagree"]),
        ("fix:x fix:y drop drop drop", ["dropped", "disagree"]),
    ],
)
def test_the_greater_number_counts(said: str, filters: list[str]) -> None:
    reviewers = {}
    for number, one in enumerate(said.split()):
        decision, _, text = one.partition(":")
        fixes = {EXAMPLE: text} if text else {}
        reviewers[str(number)] = Standing(decision=decision, time="", fixes=fixes)
    found = verdict(reviewers)
    assert found.filters == filters
    assert found.instructions == ({EXAMPLE: "x"} if "fix:x" in said and found.status == "kept" else {})
