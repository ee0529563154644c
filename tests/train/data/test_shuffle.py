"""The data order is a function of seed, dataset and epoch, and stays what it is."""

from __future__ import annotations

import numpy as np

from train.data.shuffle import epoch_order, uniform, words

SHARDS = np.repeat(np.arange(5, dtype=np.int32), 8)


def test_words_are_splitmix64s() -> None:
    # The first outputs of the reference implementation for the seed 1234567.
    assert words(1_234_567, np.arange(2)).tolist() == [6457827717110365317, 3203168211198807973]


def test_uniform_numbers() -> None:
    drawn = uniform(3, np.arange(10_000))
    assert drawn.min() >= 0 and drawn.max() < 1 and abs(drawn.mean() - 0.5) < 0.01


def test_an_epoch_has_each_example_once_shard_after_shard() -> None:
    orders = [epoch_order(0, "derain", epoch, SHARDS, np.ones(40)).tolist() for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(40))
        shards = SHARDS[order].reshape(5, 8)
        assert (shards == shards[:, :1]).all()
    assert orders[0] != orders[1] != orders[2]
    assert epoch_order(0, "derain", 1, SHARDS, np.ones(40)).tolist() == orders[1]
    assert epoch_order(1, "derain", 1, SHARDS, np.ones(40)).tolist() != orders[1]


def test_rates_are_kept_on_average() -> None:
    rates = np.repeat([0.0, 0.25, 1.0, 2.5], 10)
    counts = np.zeros(40)
    for epoch in range(200):
        order = epoch_order(0, "derain", epoch, SHARDS, rates)
        counts += np.bincount(order, minlength=40)
    np.testing.assert_allclose(counts.reshape(4, 10).mean(1) / 200, [0, 0.25, 1, 2.5], atol=0.03)
    assert set(counts[20:30]) == {200}
