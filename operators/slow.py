"""Says of what this process does itself, such as listing a source, that it is still at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

FIRST_S = 60.0
"""Seconds until it is said for the first time."""

_AGAIN_S = 600.0


@contextmanager
def said_if_slow(say: Callable[[str], None], what: str) -> Iterator[None]:
    """Tell `say`, one line, that `what` is still being done: once the block has taken a minute, then every ten."""
    began_s = time.monotonic()
    timers: list[Timer] = []

    def wait(seconds: float) -> None:
        timer = Timer(seconds, tell)
        timer.daemon = True
        timers.append(timer)
        timer.start()

    def tell() -> None:
        say(f"still {what}, for {round((time.monotonic() - began_s) / 60)} min")
        wait(_AGAIN_S)

    wait(FIRST_S)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
