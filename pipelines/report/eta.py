"""When a run will be done, told from when its shards came and how long each took."""

from __future__ import annotations

import heapq
from collections import deque
from statistics import median

_BY_PACE = 3
"""Shards a worker after which the pace at which shards come is known; till then their own durations are better."""

_SLOW = 2.0
"""Times as long as the fastest: such a shard is not counted as usual while few are done."""


class Eta:
    """The time left of a run, by items, without the start of Ray and the loading of models, which come once.

    While few shards are done, one takes what is usual among those that came, less the slow ones: a worker's first may
    have loaded models. Later the pace counts, over whole rounds of all workers, since these finish in bursts. What is
    left is dealt out to the workers, so that a last round of few shards still counts as a round.
    """

    def __init__(self, items: int, shards: int, workers: int) -> None:
        """The time of a run that makes `items` in so many shards, by `workers` that each make one at a time."""
        self._items = self._left = items
        self._shards = shards
        self._workers = max(1, min(workers, shards))
        self._made: deque[tuple[float, int, float]] = deque(maxlen=(_BY_PACE + 1) * self._workers)
        self._count = 0

    def add(self, now_s: float, items: int, busy_s: float) -> None:
        """Take note that a shard of so many items has come, which kept its worker for `busy_s` seconds.

        `now_s` is the time by any clock that goes forwards.
        """
        self._left = max(0, self._left - items)
        self._count += 1
        self._made.append((now_s, items, busy_s))

    def left_s(self, now_s: float) -> float | None:
        """Seconds left; None while it is too early to say: until a worker has made its second shard."""
        if self._count <= self._workers or not self._items:
            return None
        left = -(-self._left * self._shards // self._items)
        shard_s = self._item_s() * self._items / self._shards
        # Each worker began its next shard when it delivered its last; whole rounds of all workers need no dealing out.
        rounds = max(0, left // self._workers - 1)
        free = [began_s + rounds * shard_s for began_s, _, _ in list(self._made)[-self._workers :]]
        heapq.heapify(free)
        ends_s = now_s
        for _ in range(left - rounds * self._workers):
            ends_s = max(ends_s, free[0] + shard_s)
            heapq.heapreplace(free, free[0] + shard_s)
        return ends_s - now_s

    def _item_s(self) -> float:
        """What an item keeps a worker."""
        made = list(self._made)
        if self._count > _BY_PACE * self._workers:
            rounds = made[-(_BY_PACE - 1) * self._workers - 1 :]
            return self._workers * (rounds[-1][0] - rounds[0][0]) / max(1, sum(items for _, items, _ in rounds[1:]))
        took = [busy_s / items for _, items, busy_s in made if items and busy_s]
        return median(each for each in took if each <= _SLOW * min(took)) if took else 0.0
