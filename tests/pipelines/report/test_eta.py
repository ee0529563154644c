"""Replays runs whose end is known: from a quarter of a run on, what is said is within a factor of 1.5."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest

from pipelines.report.eta import Eta

Shard = tuple[float, int, float]
"""When it came, its items, how long it kept its worker."""


def _run(shards: int, workers: int, took_s: Callable[[int, int], float], starts_s: float = 10.0) -> list[Shard]:
    """Shards dealt out to workers in order; `took_s` of a shard's number and of how many its worker made before."""
    free = [(starts_s, worker, 0) for worker in range(workers)]
    came = []
    for number in range(shards):
        now_s, worker, before = heapq.heappop(free)
        busy_s = took_s(number, before)
        came.append((now_s + busy_s, 40, busy_s))
        heapq.heappush(free, (now_s + busy_s, worker, before + 1))
    return sorted(came)


def _noisy(number: int, before: int) -> float:
    return 3.0 * random.Random(number).uniform(0.7, 1.4)


RUNS = {
    "one worker after a long start": _run(12, 1, lambda number, before: 3, starts_s=30),
    "bundled photos": _run(8, 2, lambda number, before: 2),
    "bursts of four workers": _run(64, 4, lambda number, before: 3),
    "a last round of one shard": _run(33, 4, lambda number, before: 3),
    "models loaded by each worker": _run(48, 4, lambda number, before: 2 if before else 20),
    "models loaded by one worker": _run(12, 1, lambda number, before: 2 if before else 20),
    "one slow first shard": _run(24, 2, lambda number, before: 9 if number == 0 else 3),
    "shards of different difficulty": _run(100, 8, _noisy),
    "resumed with few shards left": _run(9, 2, _noisy, starts_s=8),
}


@pytest.mark.parametrize("came", RUNS.values(), ids=RUNS)
def test_from_a_quarter_of_the_run_on_it_is_within_a_factor_of_one_and_a_half(came: list[Shard]) -> None:
    workers = {12: 1, 8: 2, 64: 4, 33: 4, 48: 4, 24: 2, 100: 8, 9: 2}[len(came)]
    eta = Eta(items=40 * len(came), shards=len(came), workers=workers)
    end_s = came[-1][0]
    said = 0
    for number, (now_s, items, busy_s) in enumerate(came, 1):
        eta.add(now_s, items, busy_s)
        left_s = eta.left_s(now_s)
        assert (left_s is None) == (number <= workers)
        if left_s is not None and now_s >= end_s / 4 and number < len(came) - workers:
            said += 1
            assert (end_s - now_s) / 1.5 <= left_s <= (end_s - now_s) * 1.5, f"after shard {number}"
    assert said >= len(came) // 3
    assert eta.left_s(end_s) == 0


def test_it_goes_down_while_nothing_comes() -> None:
    eta = Eta(items=400, shards=10, workers=1)
    for number in range(1, 5):
        eta.add(10.0 + 3 * number, 40, 3.0)
    assert eta.left_s(22.0) == pytest.approx(18)
    assert eta.left_s(24.0) == pytest.approx(16)
    assert eta.left_s(100.0) == 0


def test_it_counts_items_not_shards() -> None:
    """Of 100 items 70 are made, at one a second, though two shards of three are left."""
    eta = Eta(items=100, shards=4, workers=1)
    eta.add(40.0, 40, 40.0)
    eta.add(70.0, 30, 30.0)
    assert eta.left_s(70.0) == pytest.approx(50, rel=0.01)  # 30 items in two shards of 25


def test_a_shard_that_was_made_before_says_nothing_of_how_long_one_takes() -> None:
    eta = Eta(items=120, shards=3, workers=1)
    eta.add(1.0, 40, 0.0)
    eta.add(9.0, 40, 8.0)
    assert eta.left_s(9.0) == pytest.approx(8)


def test_more_workers_than_shards_leave_nothing_to_say() -> None:
    eta = Eta(items=80, shards=2, workers=16)
    eta.add(1.0, 40, 1.0)
    assert eta.left_s(1.0) is None
