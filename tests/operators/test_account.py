from __future__ import annotations

import threading

import pytest

from operators.account import accounting, open_account
from operators.vlm.request import Usage


def test_an_account_holds_what_is_written_while_it_is_open_and_the_one_around_it_all() -> None:
    with accounting() as unit:
        open_account().add_batch(places=4, own=3)
        open_account().add_pictures(painted=2)
        with accounting() as step:
            open_account().add_batch(places=8, own=5)
            open_account().add_pictures(painted=3, replayed=4)
            open_account().add_usage(Usage(calls=2, tokens_in=30))
        open_account().add_usage(Usage(calls=1, tokens_in=7))
    assert (step.places, step.own, step.usage) == (8, 5, Usage(calls=2, tokens_in=30))
    assert (unit.places, unit.own, unit.usage) == (12, 8, Usage(calls=3, tokens_in=37))
    assert (step.pictures, step.replayed_pictures) == (3, 4)
    assert (unit.pictures, unit.replayed_pictures) == (5, 4)


def test_what_is_written_before_or_after_is_in_none() -> None:
    open_account().add_batch(places=4, own=4)
    with accounting() as first:
        pass
    open_account().add_batch(places=4, own=4)
    with accounting() as second:
        pass
    assert first.places == second.places == 0


def test_a_block_that_fails_has_written_all_the_same() -> None:
    def fail() -> None:
        with accounting():
            open_account().add_usage(Usage(retries=1))
            raise ZeroDivisionError

    with accounting() as unit, pytest.raises(ZeroDivisionError):
        fail()
    assert unit.usage == Usage(retries=1)
    open_account().add_usage(Usage(retries=1))
    assert unit.usage == Usage(retries=1)


def test_a_thread_writes_into_the_account_that_it_is_given_and_no_other() -> None:
    with accounting() as account:

        def write() -> None:
            open_account().add_usage(Usage(retries=1))  # of this thread: nobody reads it
            for _ in range(200):
                account.add_usage(Usage(calls=1))

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert account.usage == Usage(calls=800)
