"""Tells of two pairs whether the one must never be an in-context example of the other.

An example that shows the answer teaches copying. So no pair is shown itself, a pair of its own original picture, a copy
of itself that another dataset has under another key, or a pair of whose images any looks like one of its own, be it as
its mirror image. Masks show no picture and are not compared. A flat image has no perceptual hash
(manifests/images/phash.py): as an answer it is known by its file's sha256, and as an input it tells nothing.

What a perceptual hash cannot tell gets through where neither key nor original picture says it: a crop, an image that is
turned or upside down, one mirror image in sixteen, and a flat answer that is stored as another file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Self

import numpy as np
from numpy.typing import NDArray

from manifests.images.near import MAX_DISTANCE
from manifests.images.phash import MIRRORED, Hashes
from operators.retrieve.distance import Ints

NEAR_BITS = MAX_DISTANCE
"""Bits of 64 up to which two images count as one: 8. Re-encoding and resizing change 0 to 2, brightness and a cut edge
up to 4 (operators/judge/guard.py), other photos some 30; beyond 8 unrelated ones begin to be found."""


class Leak(IntEnum):
    """Why one pair must not be shown with another. Of several reasons the lowest counts."""

    NONE = 0
    ITSELF = 1
    """It has the pair's key, in this dataset or another."""
    GROUP = 2
    """It is made of the same original picture: their `source_group` is the same."""
    COPY = 3
    """Its images are the very same files, maybe with input and target swapped."""
    NEAR = 4
    """One of its images is within NEAR_BITS of one of the pair's, or of its mirror image."""


class Guards(Enum):
    """What is kept from being an in-context example."""

    ALL = auto()
    """Every Leak."""
    SOURCE = auto()
    """The pair itself and what is made of the same original picture."""
    ITSELF = auto()
    """The pair alone, as the paper has it (section 3.3)."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What leaks are told by, of n pairs. Equal names, of pairs of all datasets, have equal numbers."""

    key: Ints
    group: Ints
    content: Ints
    """The number of the set of the pair's files, by sha256."""
    hashes: Hashes
    """[n, r]: what its images look like, 64 bits each; a row with fewer repeats one of them."""
    blank: NDArray[np.bool_]
    """Whether there are none of any of its images."""

    def __len__(self) -> int:
        return len(self.key)

    def under(self, guards: Guards) -> Traits:
        """What is left of them to tell leaks by under some guards."""
        if guards is Guards.ALL:
            return self
        return Traits(
            key=self.key,
            group=self.group if guards is Guards.SOURCE else self.key,
            content=self.key,
            hashes=self.hashes,
            blank=np.ones(len(self.key), bool),
        )

    def at(self, which: Ints) -> Traits:
        """Those of the pairs at these positions."""
        return Traits(
            key=self.key[which],
            group=self.group[which],
            content=self.content[which],
            hashes=self.hashes[which],
            blank=self.blank[which],
        )

    @classmethod
    def of(
        cls, keys: Sequence[str], groups: Sequence[str], contents: Sequence[bytes], hashes: Sequence[list[int]]
    ) -> Self:
        """Number the names, and make the hashes one table."""
        widest = max([1, *map(len, hashes)])
        table = np.zeros((len(hashes), widest), np.uint64)
        for row, some in enumerate(hashes):
            if some:
                table[row] = [*some, *some[-1:] * (widest - len(some))]
        return cls(
            key=numbered(keys),
            group=numbered(groups),
            content=numbered(contents),
            hashes=table,
            blank=np.array([not some for some in hashes], bool),
        )


def numbered(names: Sequence[str] | Sequence[bytes]) -> Ints:
    """For each name its place among the distinct names in order, whatever the order in which they come."""
    order = {name: number for number, name in enumerate(sorted({*names}))}
    return np.fromiter((order[name] for name in names), np.int64, len(names))


def leaks(queries: Traits, database: Traits) -> NDArray[np.uint8]:
    """The Leak of each row of the one with the same row of the other, as numbers: [n]."""
    found = np.zeros(len(queries), np.uint8)
    found[queries.content == database.content] = Leak.COPY
    found[queries.group == database.group] = Leak.GROUP
    found[queries.key == database.key] = Leak.ITSELF
    seen = np.flatnonzero((found == 0) & ~queries.blank & ~database.blank)
    left, right = queries.hashes[seen], database.hashes[seen]
    near = np.zeros(len(seen), bool)
    for one in left.T:
        for other in right.T:
            apart = one ^ other
            near |= np.minimum(np.bitwise_count(apart), np.bitwise_count(apart ^ MIRRORED)) <= NEAR_BITS
    found[seen[near]] = Leak.NEAR
    return found
