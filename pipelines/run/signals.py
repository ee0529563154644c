"""Ends a command line's run as Ctrl-C does when a scheduler asks for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Within the block SIGTERM, which `ray job stop` and schedulers send, raises KeyboardInterrupt, as Ctrl-C does.

    For a command line, in the main thread, where alone Python sets handlers: raises ValueError elsewhere. Afterwards
    the handler that was there is back.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
