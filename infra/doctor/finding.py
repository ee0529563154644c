"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fails", "skipped"]
"""Of what is looked at: it will do; a run may be slow or surprise; a run will fail; it could not be looked at."""

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of what was found."""

    name: str
    """What was looked at, in a word or two."""
    state: State = "ok"
    text: str
    """What is there, and what is needed."""
    way_out: str = ""
    """What to do about it; "" if there is nothing to be done."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something to look at, for so many seconds at the most."""

    name: str
    limit_s: float
    run: Callable[[], Iterable[Finding]]
    """Raises nothing that is foreseen: what goes wrong is a finding."""


def ok(name: str, text: str) -> Finding:
    return Finding(name=name, text=text)


def warning(name: str, text: str, way_out: str) -> Finding:
    return Finding(name=name, state="warning", text=text, way_out=way_out)


def fails(name: str, text: str, way_out: str) -> Finding:
    return Finding(name=name, state="fails", text=text, way_out=way_out)


def skipped(name: str, text: str) -> Finding:
    return Finding(name=name, state="skipped", text=text)
