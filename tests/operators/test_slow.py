from __future__ import annotations

import threading

import pytest

from operators import slow
from operators.slow import said_if_slow


def test_what_takes_long_is_said_and_nothing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "FIRST_S", 0.05)
    monkeypatch.setattr(slow, "_AGAIN_S", 0.05)
    said: list[str] = []
    twice = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            twice.set()

    with said_if_slow(say, "listing DATA"):
        assert twice.wait(60)
    assert set(said) == {"still listing DATA, for 0 min"}
    assert not [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished.is_set()
    ]


def test_what_is_quick_is_not_said() -> None:
    said: list[str] = []
    with said_if_slow(said.append, "listing DATA"):
        pass
    assert said == []
