"""The data order is a function of seed, dataset and epoch, and stays what it is."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import train.data.shuffle
from train.data.shuffle import EpochOrder, uniform, words

STARTS = np.arange(0, 21 * 8, 8)
"""Twenty shards of eight examples."""


def test_words_are_splitmix64s() -> None:
    # The first outputs of the reference implementation for the seed 1234567.
    assert words(1_234_567, np.arange(2)).tolist() == [6457827717110365317, 3203168211198807973]


def test_uniform_numbers() -> None:
    drawn = uniform(3, np.arange(10_000))
    assert drawn.min() >= 0 and drawn.max() < 1 and abs(drawn.mean() - 0.5) < 0.01


@pytest.mark.parametrize("interleaved", [1, 3, 4, 8, 20, 50])
def test_an_epoch_has_each_example_once(interleaved: int) -> None:
    uneven = np.array([0, 5, 5, 21, 22, 40])
    for starts in (STARTS, uneven, np.array([0, 7])):
        orders = [_order(epoch=epoch, starts=starts, interleaved=interleaved) for epoch in range(3)]
        for order in orders:
            assert sorted(order) == list(range(starts[-1]))
        assert orders[0] != orders[1] != orders[2]
        assert _order(epoch=1, starts=starts, interleaved=interleaved) == orders[1]
        assert _order(seed=1, epoch=1, starts=starts, interleaved=interleaved) != orders[1]


def test_shards_are_interleaved_and_each_is_done_with_in_time() -> None:
    """Four at any time, from the first slot to the last, two examples of each; a circle, so none has a lonely end."""
    slots = (np.array(_order(interleaved=4)) // 8).reshape(20, 8)
    opened = [{*slot.tolist()} for slot in slots]
    assert all(np.unique(slot, return_counts=True)[1].tolist() == [2, 2, 2, 2] for slot in slots)
    assert all(len(opened[number] - opened[number - 1]) == 1 for number in range(20))
    one_by_one = (np.array(_order(interleaved=1)) // 8).reshape(20, 8)
    assert (one_by_one == one_by_one[:, :1]).all()


def test_a_place_is_known_without_those_before_it() -> None:
    order = _order(interleaved=4)
    fresh = _make(interleaved=4)
    assert [fresh[place] for place in (155, 3, 80, 81)] == [order[place] for place in (155, 3, 80, 81)]
    for place in (-1, 160):
        with pytest.raises(IndexError):
            fresh[place]


def test_the_order_stays_what_it_is() -> None:
    """Runs go on by it. Whoever changes it raises train.data.stream.ORDER."""
    rates = np.array([1.0, 0.5, 0.0, 2.5])
    said = str([_order(epoch=epoch, interleaved=3, rates=rates) for epoch in range(2)])
    assert hashlib.sha256(said.encode()).hexdigest()[:16] == "518dccd5752beddb"


def test_rates_are_kept_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also counted in several blocks, with a shard that is larger than a block and one without examples."""
    monkeypatch.setattr(train.data.shuffle, "_BLOCK", 7)
    starts = np.array([0, 3, 6, 6, 18, 40])
    codes = np.repeat(np.arange(4, dtype=np.int8), 10)
    counts = np.zeros(40)
    for epoch in range(200):
        order = EpochOrder(0, "derain", epoch, starts, codes, np.array([0.0, 0.25, 1.0, 2.5]), 2)
        found = [order[place] for place in range(len(order))]
        counts += np.bincount(found, minlength=40)
    np.testing.assert_allclose(counts.reshape(4, 10).mean(1) / 200, [0, 0.25, 1, 2.5], atol=0.03)
    assert set(counts[20:30]) == {200}


def _make(
    seed: int = 0,
    epoch: int = 0,
    starts: np.ndarray = STARTS,
    interleaved: int = 1,
    rates: np.ndarray = np.ones(4),  # noqa: B008
) -> EpochOrder:
    return EpochOrder(seed, "derain", epoch, starts, np.arange(starts[-1], dtype=np.int8) % 4, rates, interleaved)


def _order(**changes: object) -> list[int]:
    order = _make(**changes)  # type: ignore[arg-type]
    return [order[place] for place in range(len(order))]
