"""Counter-based random numbers: the n-th is known without the others, so that a position is all a cursor keeps.

SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), written out, so that no version of a library changes the data order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from manifests.schema import seed_for

_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1

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


def epoch_order(
    seed: int, name: str, epoch: int, shards: NDArray[np.int32], rates: NDArray[np.float64]
) -> NDArray[np.int32]:
    """The examples of one epoch of a dataset, in their order: shard after shard, shuffled within each.

    `shards[i]` is example i's shard, `rates[i]` how often it comes an epoch: 1 exactly once, 0.5 in every other epoch
    on average, by its own draw. Costs about a second a million examples.
    """
    examples = np.arange(len(shards), dtype=np.int64)
    drawn = uniform(seed_for(seed, name, "copies", str(epoch)), examples)
    repeated = np.repeat(examples, np.floor(rates + drawn).astype(np.int64))
    copy = np.arange(len(repeated)) - np.searchsorted(repeated, repeated)
    within = words(seed_for(seed, name, "examples", str(epoch)), repeated + copy * len(shards))
    across = words(seed_for(seed, name, "shards", str(epoch)), shards[repeated])
    return repeated[np.lexsort((within, across))].astype(np.int32)
