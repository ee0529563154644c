"""Whom a painter's GPU waits for, second by second, where two groups of pairs are in hand."""

from __future__ import annotations

from pipelines.run.waits import WaitClock, Waits


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_wait_is_counted_once_and_not_while_another_group_has_the_gpu() -> None:
    clock = _Clock()
    waits = WaitClock(clock)
    clock.now_s = 5.0  # with nothing in hand
    first, second = waits.at("disk"), waits.at("disk")
    with first:
        clock.now_s += 1.0  # the first is read
        with waits.at("answers"), second:
            clock.now_s += 10.0  # and asked about, while the second is read
            with waits.at("gpu"):
                clock.now_s += 100.0  # the second is painted
            clock.now_s += 1_000.0
        clock.now_s += 10_000.0  # the first is stored
    clock.now_s += 100_000.0
    assert waits.taken() == Waits(answers_s=1_010.0, disk_s=10_001.0)
    assert waits.taken() == Waits()


def test_what_is_going_on_is_counted_when_it_is_taken() -> None:
    clock = _Clock()
    waits = WaitClock(clock)
    with waits.at("disk"), waits.at("answers"):
        clock.now_s += 2.0
        assert waits.taken() == Waits(answers_s=2.0)
        clock.now_s += 3.0
    assert waits.taken() == Waits(answers_s=3.0)
