"""What making units costs in workers, step by step. It is reported and never stored: a dataset's bytes know no time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from operators.account import accounting


@dataclass
class Spent:
    """Wall time in workers. Steps are named by their operator, in the order in which they first ran."""

    units_s: float = 0.0
    """Seconds in whole units. What their steps leave of it went into choosing contexts, hashing and writing."""
    items: Counter[str] = field(default_factory=Counter)
    batches: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    places: Counter[str] = field(default_factory=Counter)
    """By step, how many places there were in the batches that its models were given (operators/batching.py)."""
    own: Counter[str] = field(default_factory=Counter)
    """By step, how many of these places held a request of their own and not a copy that fills the batch up."""
    pictures: Counter[str] = field(default_factory=Counter)
    """By step, how many pictures were painted. Those that had been kept before do not count."""
    loading_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By step, how many of its seconds went into loading models."""

    @contextmanager
    def on(self, step: str, items: int) -> Iterator[None]:
        """Count a step's work on a batch of items, under an account of its own, until the block ends."""
        started_s = time.perf_counter()
        with accounting() as account:
            try:
                yield
            finally:
                self.items[step] += items
                self.batches[step] += 1
                self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - started_s
                self.places[step] += account.places
                self.own[step] += account.own
                self.pictures[step] += account.pictures
                self.loading_s[step] += account.loading_s

    def add(self, other: Spent) -> None:
        self.units_s += other.units_s
        self.items.update(other.items)
        self.batches.update(other.batches)
        self.places.update(other.places)
        self.own.update(other.own)
        self.pictures.update(other.pictures)
        for step, seconds in other.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds
        for step, seconds in other.loading_s.items():
            self.loading_s[step] += seconds
