"""The order of an epoch, of which any part is known without the rest, so that a position is all a cursor keeps.

It is drawn by counter-based random numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), written out, so that no
version of a library changes the data order.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from manifests.schema import seed_for

_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1

_BLOCK = 2**20
"""About so many examples are counted at once, at some 40 bytes each."""
_KEPT = 256
"""Slots, and shuffled shards, that are kept, of some 8 KB each: the streams of a process are not all at one place."""

Words = NDArray[np.uint64]


def words(seed: int, counters: NDArray[np.integer]) -> Words:
    """The random 64-bit words of a seed at these counters, any shape."""
    z = counters.astype(np.uint64) * np.uint64(_GAMMA) + np.uint64((seed + _GAMMA) & _MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_MIX_2)
    return z ^ (z >> np.uint64(31))


def uniform(seed: int, counters: NDArray[np.integer]) -> NDArray[np.float64]:
    """Random numbers in [0, 1), of 53 bits each."""
    return (words(seed, counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class EpochOrder:
    """The examples of one epoch of a dataset, by their place in its order; `interleaved` shards are read at a time.

    The shards are put in a random order, round in a circle of as many slots. Each is shuffled and dealt out in equal
    parts to its own slot and the next ones, so that a slot has a part of each of the `interleaved` shards that end with
    its own; in the slot these are shuffled. From one slot to the next one shard is done with and another begins.
    """

    def __init__(
        self,
        seed: int,
        name: str,
        epoch: int,
        starts: NDArray[np.int64],
        codes: NDArray[np.int8],
        rates: NDArray[np.float64],
        interleaved: int,
    ) -> None:
        """`starts` are the numbers of the shards' first examples, and last the number of examples: [shards + 1].

        An example comes `rates[codes[example]]` times an epoch: with 1 exactly once, with 0.5 in every other epoch on
        average, by its own draw. With rates that are not all 1, draws are counted, at 0.05 CPU-s a million examples;
        a slot is made when it is asked for.
        """
        self._seeds = {
            what: seed_for(seed, name, what, str(epoch)) for what in ("copies", "examples", "shards", "slots")
        }
        self._starts, self._codes, self._rates = starts, codes, rates
        shards = len(starts) - 1
        self._parts = max(1, min(interleaved, shards))
        self._shard_at = np.argsort(words(self._seeds["shards"], np.arange(shards)), kind="stable")
        counts = self._counts()[self._shard_at]
        sizes = np.zeros(shards, np.int64)
        for part in range(self._parts):
            sizes += np.roll(counts * (part + 1) // self._parts - counts * part // self._parts, part)
        self._slots = np.concatenate([[0], np.cumsum(sizes)])
        self._shuffled = lru_cache(_KEPT)(self._shuffle)
        self._slot = lru_cache(_KEPT)(self._fill)

    def __len__(self) -> int:
        return int(self._slots[-1])

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < len(self):
            raise IndexError(place)
        slot = int(np.searchsorted(self._slots, place, "right")) - 1
        return int(self._slot(slot)[place - int(self._slots[slot])])

    def _copies(self, first: int, end: int) -> NDArray[np.int64]:
        """How often each of some examples comes in this epoch."""
        drawn = uniform(self._seeds["copies"], np.arange(first, end))
        return np.floor(self._rates[self._codes[first:end]] + drawn).astype(np.int64)

    def _counts(self) -> NDArray[np.int64]:
        """How many examples of each shard come in this epoch, copies counted: [shards]."""
        if (self._rates == 1).all():
            return self._starts[1:] - self._starts[:-1]
        before = [np.zeros(1, np.int64)]  # of each shard's start, the number that come before it
        shard = 0
        while shard < len(self._starts) - 1:
            first = int(self._starts[shard])
            end = max(shard + 1, int(np.searchsorted(self._starts, first + _BLOCK, "right")) - 1)
            come = np.concatenate([[0], np.cumsum(self._copies(first, int(self._starts[end])))])
            before.append(before[-1][-1] + come[self._starts[shard + 1 : end + 1] - first])
            shard = end
        come_before = np.concatenate(before)
        return come_before[1:] - come_before[:-1]

    def _shuffle(self, shard: int) -> NDArray[np.int64]:
        """The examples of a shard, copies too, in random order."""
        first, end = map(int, self._starts[shard : shard + 2])
        copies = self._copies(first, end)
        own = np.repeat(np.arange(first, end), copies)
        copy = np.arange(len(own)) - np.repeat(np.cumsum(copies) - copies, copies)
        drawn = words(self._seeds["examples"], own + copy * len(self._codes))
        return own[np.argsort(drawn, kind="stable")]

    def _fill(self, slot: int) -> NDArray[np.int64]:
        parts = []
        for part in range(self._parts):
            own = self._shuffled(int(self._shard_at[slot - part]))  # numbers below 0 are those at the circle's end
            first, end = (len(own) * bound // self._parts for bound in (part, part + 1))
            parts.append(own[first:end])
        taken = np.concatenate(parts)
        drawn = words(self._seeds["slots"], int(self._slots[slot]) + np.arange(len(taken)))
        return taken[np.argsort(drawn, kind="stable")]
