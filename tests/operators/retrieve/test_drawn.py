from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from operators.retrieve.drawn import draw
from operators.retrieve.leaks import Leak, Traits
from operators.retrieve.ranked import Ranked


def traits(group: list[int], hashes: list[int] | None = None) -> Traits:
    count = np.arange(len(group))
    return Traits(
        key=count,
        group=np.array(group),
        content=count,
        hashes=np.array(hashes or [0] * len(group), np.uint64)[:, None],
        blank=np.full(len(group), hashes is None),
    )


def drawn(of: Traits, *, k: int, pools: list[int] | None = None, seed: int = 0) -> Ranked:
    seeds = np.random.default_rng(seed).integers(0, 2**63, len(of)).astype(np.uint64)
    pool = np.array(pools or [0] * len(of))
    return draw(of, seeds, pool, of, pool, k=k)


@pytest.mark.parametrize("k", [1, 3])
def test_all_of_the_group_but_the_own_picture_are_drawn_equally_often(k: int) -> None:
    # 600 queries of one picture, whose 600 pairs are in the way, and 40 others of which 30 are in their group.
    of = traits([7] * 600 + [*range(100, 140)])
    pools = [1] * 600 + [1, 1, 1, 2] * 10
    got = drawn(of, k=k, pools=pools)
    counts = np.bincount(got.item[:600].ravel(), minlength=640)
    allowed = [item for item in range(600, 640) if pools[item] == 1]
    assert counts[allowed].sum() == counts.sum() == 600 * k
    assert chisquare(counts[allowed]).pvalue > 1e-3
    assert all(len({*row}) == k for row in got.item[:600].tolist())


def test_small_groups_are_drawn_whole_and_in_any_order() -> None:
    of = traits([*range(4)] * 50)
    pools = [number // 4 for number in range(200)]
    got = drawn(of, k=5, pools=pools)
    for query, row in enumerate(got.item.tolist()):
        assert {item // 4 for item in row if item >= 0} == {query // 4}
        assert sorted(row)[:2] == [-1, -1] and query not in row and len({*row}) == 4
    assert len({tuple(np.array(row[:3]) % 4) for row in got.item[::4].tolist()}) == 6  # of pictures 1 to 3


def test_what_guards_leave_of_many_is_found() -> None:
    """1,000 near-duplicates of the query's image, in pictures of their own, and three that are not."""
    hashes = [0] * 1_000 + [2**40 - 1, 2**50 - 1, 2**60 - 1]
    of = traits([*range(1_003)], hashes)
    got = drawn(of, k=4)
    assert {tuple(sorted(row)) for row in got.item[:1_000].tolist()} == {(-1, 1_000, 1_001, 1_002)}
    assert got.passed[Leak.NEAR] > 1_000
    assert (got.item[1_000:] >= 0).all()


def test_a_draw_depends_on_the_seed_alone() -> None:
    of = traits([*range(100)])
    first, again, other = drawn(of, k=4), drawn(of, k=4), drawn(of, k=4, seed=1)
    np.testing.assert_array_equal(first.item, again.item)
    assert (first.item != other.item).any()
    some = np.arange(0, 100, 3)
    seeds = np.random.default_rng(0).integers(0, 2**63, 100).astype(np.uint64)
    pool = np.zeros(100, np.int64)
    part = draw(of.at(some), seeds[some], pool[some], of, pool, k=4)
    np.testing.assert_array_equal(part.item, first.item[some])
    nothing = of.at(np.empty(0, np.int64))
    assert (draw(of, seeds, pool, nothing, np.empty(0, np.int64), k=4).item == -1).all()
