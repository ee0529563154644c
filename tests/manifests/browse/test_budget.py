"""What is in use at the same time is never more than the budget, and everybody's turn comes."""

from __future__ import annotations

import threading

from manifests.browse.budget import Budget


def test_no_more_is_in_use_than_there_is() -> None:
    budget, lock = Budget(100), threading.Lock()
    counts = [40, 60, 1, 100, 250, 30, 30, 30, 0, 99]
    in_use: list[int] = []
    most: list[int] = []

    def work(count: int) -> None:
        for _ in range(20):
            with budget.taking(count):
                with lock:
                    in_use.append(count)
                    most.append(sum(min(one, 100) for one in in_use))
                with lock:
                    in_use.remove(count)

    threads = [threading.Thread(target=work, args=(count,)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 20 * len(counts)
    assert max(most) <= 100


def test_what_raises_gives_back() -> None:
    budget = Budget(10)
    for _ in range(3):
        try:
            with budget.taking(10):
                raise ValueError
        except ValueError:
            pass
    with budget.taking(10):
        entered = threading.Event()
        waiting = threading.Thread(target=lambda: _enter(budget, entered), daemon=True)
        waiting.start()
        assert not entered.wait(0.05)
    assert entered.wait(60)


def _enter(budget: Budget, entered: threading.Event) -> None:
    with budget.taking(1):
        entered.set()
