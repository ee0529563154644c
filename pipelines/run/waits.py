"""For whom a painter's GPU waits while pairs are in hand: for answers about them, or for them to be read and stored."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

At = Literal["gpu", "answers", "disk"]
"""Where a group of pairs is: it has the GPU, it is asked about, or it is read, stored, or worked on by a CPU."""


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Seconds in which a painter had pairs in hand, and none of them had its GPU."""

    answers_s: float = 0.0
    """Some pair waited for answers of a vision-language model."""
    disk_s: float = 0.0
    """All pairs in hand were being read or stored, or were at operators that work on a CPU."""


class WaitClock:
    """Counts a painter's waits. Several threads, each of which takes a group of pairs through its stage, share one."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with no pair in hand; `clock` says how many seconds have passed."""
        self._clock = clock
        self._lock = threading.Lock()
        self._groups: Counter[At] = Counter()
        self._spent_s: defaultdict[At, float] = defaultdict(float)
        self._since_s = clock()

    @contextmanager
    def at(self, place: At) -> Iterator[None]:
        """A group of pairs is there until the block ends. A block "disk" is around those of the same group."""
        self._move(place, 1)
        try:
            yield
        finally:
            self._move(place, -1)

    def taken(self) -> Waits:
        """The waits since this was asked last, of all groups together."""
        with self._lock:
            self._charge()
            spent_s, self._spent_s = self._spent_s, defaultdict(float)
        return Waits(answers_s=spent_s["answers"], disk_s=spent_s["disk"])

    def _move(self, place: At, groups: int) -> None:
        with self._lock:
            self._charge()
            self._groups[place] += groups

    def _charge(self) -> None:
        """Count the time since the last change to the one whom the GPU waited for."""
        now_s = self._clock()
        busiest: Sequence[At] = ("gpu", "answers", "disk")
        for place in busiest:
            if self._groups[place]:
                self._spent_s[place] += now_s - self._since_s
                break
        self._since_s = now_s
