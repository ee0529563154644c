"""Draws for each query k items of a database at random, by the query's own seed.

Uniformly, without repetition, of the items of the query's group that it may be shown. Those of its own original picture
are left out before the draw, so that many of them cost nothing; what other guards forbid is drawn and put back, and
where that takes too long, the whole group is shuffled. A draw depends on the seed and on the order of the items alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.retrieve.distance import Ints
from operators.retrieve.leaks import Leak, Traits, leaks
from operators.retrieve.ranked import Ranked

Seeds = NDArray[np.uint64]

_TRIES = 4  # for each item that is wanted, before the whole group is shuffled
_LOOK = 1_024  # shuffled items that are looked at together


def draw(queries: Traits, seeds: Seeds, group: Ints, database: Traits, group_of: Ints, *, k: int) -> Ranked:
    """For each query k items of the database whose `group_of` is its `group`."""
    count = len(queries)
    item = np.full((count, k), -1, np.int64)
    passed = np.zeros(len(Leak), np.int64)
    pools = _Pools(database, group_of)
    start, others, own_start, own = pools.around(group, queries.group)
    found = np.zeros(count, np.int64)
    for attempt in range(_TRIES * k):
        asking = np.flatnonzero((found < k) & (others > _TRIES * k))
        place = (_mixed(seeds[asking], attempt) % others[asking].astype(np.uint64)).astype(np.int64)
        drawn = pools.at(start[asking], place, own_start[asking], own[asking])
        new = ~(item[asking] == drawn[:, None]).any(1)
        asking, drawn = asking[new], drawn[new]
        why = leaks(queries.at(asking), database.at(drawn))
        np.add.at(passed, why, 1)
        asking, drawn = asking[why == 0], drawn[why == 0]
        item[asking, found[asking]] = drawn
        found[asking] += 1
    for query in np.flatnonzero((found < k) & (others > 0)):
        shuffled = np.random.default_rng(int(seeds[query])).permutation(others[query])
        for first in range(0, len(shuffled), _LOOK):
            drawn = pools.at(start[query], shuffled[first : first + _LOOK], own_start[query], own[query])
            drawn = drawn[~np.isin(drawn, item[query])]
            why = leaks(queries.at(np.full(len(drawn), query)), database.at(drawn))
            allowed = np.flatnonzero(why == 0)[: k - found[query]]
            seen = allowed[-1] if found[query] + len(allowed) == k else len(drawn)
            np.add.at(passed, why[:seen], 1)
            item[query, found[query] : found[query] + len(allowed)] = drawn[allowed]
            found[query] += len(allowed)
            if found[query] == k:
                break
    score = np.where(item >= 0, np.nan, -np.inf)
    return Ranked(
        item=item, score=score, passed={why: int(passed[why]) for why in Leak if why}, method="drawn", recall=1.0
    )


class _Pools:
    """The database's items by group and, in a group, by original picture."""

    def __init__(self, database: Traits, group_of: Ints) -> None:
        self._order = np.lexsort((np.arange(len(group_of)), database.group, group_of))
        self._group, self._picture = group_of[self._order], database.group[self._order]
        self._pictures = int(self._picture.max(initial=0)) + 1

    def around(self, group: Ints, picture: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Of groups and a picture each: where the group starts, how many items it has less the picture's, and where and
        how many the picture's are."""
        start, stop = (np.searchsorted(self._group, group, side) for side in ("left", "right"))
        both = self._group * self._pictures + self._picture
        # A picture that the database does not have is beyond all of a group.
        wanted = group * self._pictures + np.minimum(picture, self._pictures)
        known = picture < self._pictures
        own_start = np.where(known, np.searchsorted(both, wanted, "left"), stop)
        own = np.where(known, np.searchsorted(both, wanted, "right") - own_start, 0)
        return start, stop - start - own, own_start - start, own

    def at(self, start: Ints, place: Ints, own_start: Ints, own: Ints) -> Ints:
        """The items at places in groups, counted without a picture's own."""
        items: Ints = self._order[start + np.where(place < own_start, place, place + own)]
        return items


def _mixed(seeds: Seeds, attempt: int) -> Seeds:
    """The numbers that SplitMix64 makes of seeds (Steele, Lea and Flood, OOPSLA 2014), the one after so many others."""
    state = seeds + np.uint64((0x9E3779B97F4A7C15 * (attempt + 1)) % 2**64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Seeds = state ^ (state >> np.uint64(31))
    return mixed
