"""Pitfalls by name; how often the rules are right is measured in test_edit_classifier."""

from __future__ import annotations

import signal
from dataclasses import asdict

import pytest

from operators.judge.edit_rules import RuleClassifier

CASES = {
    "object_addition": (
        "put a hat on the cat",
        "PUT A HAT ON THE CAT!",
        "insert a boat",
        "give the man a beard",
        "there should be a bird",
        "Could you please add a touch of mustard?",
        "make it darker, then add an owl",
        "let’s have the man wear “cool” sunglasses",
        "Add lights to the tree",
    ),
    "object_removal": (
        "make the dog disappear",
        "take away the bowl",
        "get rid of the fence",
        "erase the boat",
        "let there be no cars",
        "brighten the sky and remove the kite",
        "The table should be empty",
    ),
    "other": (
        "add more contrast",
        "remove the colour",
        "remove the background blur",
        "replace the cup with a vase",
        "take out the lamp and put a plant in its place",
        "add snow",
        "make the fog disappear",
        "turn the cat into a tiger",
        "put the vase on the floor",
        "give the photo a warmer tone",
        "take a photo from below",
        "",
        "…",
        "日本語",
    ),
}


@pytest.mark.parametrize(("label", "instruction"), [(label, text) for label, texts in CASES.items() for text in texts])
def test_pitfalls(label: str, instruction: str) -> None:
    assert RuleClassifier()(instruction) == label


def test_its_version_is_a_field_and_so_in_the_fingerprint() -> None:
    assert asdict(RuleClassifier()) == {"rules": RuleClassifier().rules}


def test_a_long_hostile_instruction_gets_an_answer() -> None:
    """Instructions come from outside: no pattern may backtrack without end. The alarm ends a test that hangs."""

    def hang(number: int, frame: object) -> None:
        raise AssertionError("a pattern backtracks without end")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(300)
    try:
        for part in ("a ", "have ", "there be no ", "put the ", "only ", "of of ", ", and add "):
            assert RuleClassifier()(part * 500) in CASES
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
