"""Ends a worker whose operator hangs, which is then a worker that died: its unit is made pair by pair.

A thread looks at the clock. Where native code holds the interpreter, so that no thread of Python's runs, faulthandler
ends the process, which needs no interpreter. Both say where the operator was in the worker's log.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from operators.base import Limited, Link
from operators.timeouts import timeout_s

STATUS = 75
"""The exit status of a process that was ended: EX_TEMPFAIL of sysexits.h."""

_LOOK_EVERY_S = 1.0
_STDERR = 2
_GRACE_S = 10.0  # for the thread to be the first


@contextmanager
def watched(link: Link | Limited, pairs: int = 1) -> Iterator[None]:
    """End this process if the block, in which an operator works on so many pairs, takes longer than it may.

    Several threads may each have an operator at work. Time-outs: operators/timeouts.py.
    """
    watch, thread = _watch(), threading.get_ident()
    watch.begin(thread, timeout_s(link) * pairs)
    try:
        yield
    finally:
        watch.end(thread)


class _Watch:
    def __init__(self) -> None:
        self._ends_s: dict[int, float] = {}
        """Thread -> when the operator that is at work in it has to be done."""
        self._longest_s = 0.0
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def begin(self, thread: int, allowed_s: float) -> None:
        """Take note that an operator begins, whose first instruction may be the last of Python's.

        To have faulthandler count takes 30 us, too long for every operator: it counts from the last look at the clock
        on, to the longest that an operator may take.
        """
        self._ends_s[thread] = time.monotonic() + allowed_s
        if allowed_s > self._longest_s:
            self._longest_s = allowed_s
            self._count()

    def end(self, thread: int) -> None:
        """Take note that a thread's operator is done."""
        del self._ends_s[thread]

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            now_s = time.monotonic()
            if any(ends_s <= now_s for ends_s in list(self._ends_s.values())):
                faulthandler.dump_traceback(file=_STDERR)
                os._exit(STATUS)
            self._count()

    def _count(self) -> None:
        faulthandler.dump_traceback_later(self._longest_s + _GRACE_S, file=_STDERR, exit=True)


@cache
def _watch() -> _Watch:
    return _Watch()
