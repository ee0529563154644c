"""The account of what models are asked to do while it is open: of one step, or of a whole work unit.

Four functions write into the account that is open: `operators.batching.in_batches` (places in batches),
`operators.pictures.kept_or_painted` (pictures), `operators.models.device.loaded_once` (seconds of loading) and
`operators.vlm.client.Vlm.ask` (requests). The engine (pipelines/run/engine.py) opens one for a work unit, `Spent.on`
(pipelines/run/spent.py) one for a step of its chain, and each reads its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from operators.vlm.request import Usage


@dataclass(kw_only=True)
class Account:
    """What models did. Threads may write into one account at the same time."""

    usage: Usage = field(default_factory=Usage)
    """What was asked of a vision-language model."""
    places: int = 0
    """How many places there were in the batches that networks were given; batches of one place do not count."""
    own: int = 0
    """How many of these places held a request of their own and not a copy that fills the batch up."""
    pictures: int = 0
    """How many pictures were painted."""
    replayed_pictures: int = 0
    """How many pictures had been painted and kept before, and were read."""
    loading_s: float = 0.0
    """Seconds in which models were loaded."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add_batch(self, *, places: int, own: int) -> None:
        with self._lock:
            self.places += places
            self.own += own

    def add_loading(self, seconds: float) -> None:
        with self._lock:
            self.loading_s += seconds

    def add_pictures(self, *, painted: int = 0, replayed: int = 0) -> None:
        with self._lock:
            self.pictures += painted
            self.replayed_pictures += replayed

    def add_usage(self, usage: Usage) -> None:
        with self._lock:
            self.usage.add(usage)


_open: ContextVar[Account | None] = ContextVar("account", default=None)


@contextmanager
def accounting() -> Iterator[Account]:
    """Open an account until the block ends, however it ends. It is then added to the one around it, if there is one."""
    around, account = _open.get(), Account()
    token = _open.set(account)
    try:
        yield account
    finally:
        _open.reset(token)
        if around:
            around.add_batch(places=account.places, own=account.own)
            around.add_loading(account.loading_s)
            around.add_pictures(painted=account.pictures, replayed=account.replayed_pictures)
            around.add_usage(account.usage)


def open_account() -> Account:
    """The innermost account that is open, or one that nobody reads. A new thread has none: it must be given its own."""
    return _open.get() or Account()
