from __future__ import annotations

import numpy as np
import pytest

from manifests.images.near import NearIndex, groups, near_any
from manifests.images.phash import Hashes


@pytest.mark.parametrize("distance", range(9))
def test_groups_are_those_of_comparing_all_with_all(distance: int) -> None:
    """Of 300 hashes in families whose members differ in up to 9 bits."""
    hashes = _families(distance)
    labels = groups(hashes, distance)
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= distance
    reached = near
    while (further := reached @ reached).sum() > reached.sum():
        reached = further
    assert ((labels[:, None] == labels[None, :]) == reached).all()


@pytest.mark.parametrize("distance", range(9))
def test_the_index_finds_the_nearest_as_a_search_of_all_does(distance: int) -> None:
    hashes = _families(distance)
    index = NearIndex(hashes=hashes[::2], distance=distance)
    found = 0
    for wanted in hashes[1::2]:
        away = np.bitwise_count(hashes[::2] ^ wanted)
        best = int(away.argmin())
        expected = (best, int(away[best])) if away[best] <= distance else None
        assert index.nearest(int(wanted)) == expected
        found += expected is not None
    assert found >= (3 if distance < 2 else 30)


@pytest.mark.parametrize("distance", range(9))
def test_what_is_near_any_other_is_found_as_a_search_of_all_does(distance: int) -> None:
    hashes = _families(distance)
    asked = np.concatenate([hashes[1::2], np.random.default_rng(99).integers(0, 2**64, 20, np.uint64)])
    expected = (np.bitwise_count(asked[:, None] ^ hashes[None, ::2]) <= distance).any(1)
    np.testing.assert_array_equal(near_any(asked, hashes[::2], distance), expected)
    assert 0 < expected.sum() < len(expected)
    assert not near_any(hashes, hashes[:0], distance).any() and not len(near_any(hashes[:0], hashes, distance))


def test_none_and_one() -> None:
    assert groups(np.empty(0, np.uint64), 4).tolist() == []
    assert groups(np.array([7], np.uint64), 4).tolist() == [0]
    assert NearIndex(hashes=np.empty(0, np.uint64), distance=4).nearest(7) is None


def test_many_identical_hashes_are_one_group_at_once() -> None:
    hashes = np.concatenate([np.full(100_000, 5, np.uint64), np.array([2**40], np.uint64)])
    labels = groups(hashes, 0)
    assert len(set(labels[:-1].tolist())) == 1 and labels[-1] != labels[0]


def test_a_hundred_thousand_are_searched_in_seconds() -> None:
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[-100:] = hashes[:100] ^ np.uint64(0b1011_0001)
    labels = groups(hashes, 4)
    assert (labels[-100:] == labels[:100]).all()
    assert len(np.unique(labels)) == 99_900


def _families(seed: int) -> Hashes:
    generator = np.random.default_rng(seed)
    hashes = np.repeat(generator.integers(0, 2**64, 60, dtype=np.uint64), 5)
    for position in range(len(hashes)):
        for bit in generator.choice(64, generator.integers(0, 6), replace=False):
            hashes[position] ^= np.uint64(1 << int(bit))
    return hashes
