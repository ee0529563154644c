from __future__ import annotations

import numpy as np
import pytest

from operators.retrieve import ranked, shortlist
from operators.retrieve.distance import Distance, Ints
from operators.retrieve.leaks import Leak, Traits
from operators.retrieve.ranked import Items, collapse, rank
from operators.shared.texts import Vectors

FAR = 2**63 - 1


def similarity(left: Vectors, right: Vectors, distance: Distance) -> float:
    """By hand, in float64, to six places."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    if distance is Distance.L2:
        return round(-float((a - b) @ (a - b)) / 2, 6)
    return round(float(a @ b) / (float(np.linalg.norm(a) * np.linalg.norm(b)) if distance is Distance.COSINE else 1), 6)


def leaks_by_hand(traits: Traits, one: int, other: int) -> bool:
    if traits.key[one] == traits.key[other] or traits.group[one] == traits.group[other]:
        return True
    if traits.content[one] == traits.content[other]:
        return True
    if traits.blank[one] or traits.blank[other]:
        return False
    return any(
        (int(left) ^ int(right)).bit_count() <= 8 for left in traits.hashes[one] for right in traits.hashes[other]
    )


def brute_force(
    items: Items,
    queries: list[int],
    database: list[int],
    vectors: Vectors,
    k: int,
    diversity: float,
    distance: Distance,
) -> list[list[tuple[int, float]]]:
    """Positions in the database and scores, query by query, item by item."""
    found = []
    like = [[similarity(left, right, distance) for right in vectors] for left in vectors]
    for query in queries:
        near = []
        for place, item in enumerate(database):
            if not leaks_by_hand(items.traits, query, item):
                near.append((-like[items.vector[query]][items.vector[item]], place))
        pool: list[tuple[float, int]] = []
        for negative, place in sorted(near):
            same_vector = [other for _, other in pool if items.vector[database[other]] == items.vector[database[place]]]
            if len(same_vector) < k and len(pool) < (8 * k if k > 1 else 1):
                pool.append((-negative, place))
        taken: list[tuple[int, float]] = []
        while pool and len(taken) < k:
            values = []
            for score, place in pool:
                likest = max(
                    (like[items.vector[database[other]]][items.vector[database[place]]] for other, _ in taken),
                    default=0.0,
                )
                values.append(round((1 - diversity) * score - diversity * likest, 9) if taken else score)
            best = values.index(max(values))
            score, place = pool.pop(best)
            taken.append((place, score))
        found.append(taken)
    return found


def some_items(seed: int) -> tuple[Items, Vectors]:
    """Few distinct vectors on a coarse grid, groups, copies, near-duplicates, pairs of flat images."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 50))
    vectors = random.integers(-1, 2, (int(random.integers(1, 40)), 4)).astype(np.float32) * 3 + 0.5
    vectors = np.unique(vectors, axis=0)
    pictures = random.integers(0, FAR, 1 + count // 2).astype(np.uint64)
    hashes = pictures[random.integers(0, len(pictures), (count, 2))]
    for bit in range(12):  # up to 12 bits are turned, of which 8 make a near-duplicate
        hashes ^= random.integers(0, 2, hashes.shape).astype(np.uint64) << np.uint64(5 * bit)
    traits = Traits(
        key=np.arange(count),
        group=random.integers(0, max(1, count // int(random.integers(1, 6))), count),
        content=np.where(random.random(count) < 0.2, random.integers(0, 5, count) + 1_000, np.arange(count)),
        hashes=hashes,
        blank=random.random(count) < 0.2,
    )
    return Items(vector=random.integers(0, len(vectors), count), traits=traits), vectors


@pytest.fixture(params=[3, 50_000])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and looks smaller than the input, and larger."""
    monkeypatch.setattr(shortlist, "_SCORES_AT_ONCE", request.param * 10)
    monkeypatch.setattr(ranked, "_NUMBERS_AT_ONCE", request.param * 100)
    monkeypatch.setattr(ranked, "_FALLBACK_BLOCK", request.param)
    monkeypatch.setattr(ranked, "_FIRST_LOOK", min(request.param, 512))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize(("k", "diversity"), [(1, 0.0), (4, 0.0), (4, 0.3), (3, 0.7)])
def test_it_agrees_with_brute_force_over_leaks_ties_and_repeats(
    distance: Distance, k: int, diversity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranked, "_LEAST_SHORTLIST", 2)
    monkeypatch.setattr(ranked, "_SHORTLIST_A_POOL", 0.2)  # most queries find too little on it
    fallbacks = 0
    for seed in range(5):
        items, vectors = some_items(seed)
        everything = np.arange(len(items.vector))
        half = np.flatnonzero(everything % 2 == 0) if seed % 3 else everything
        got = rank(items, items.at(half), vectors, k=k, diversity=diversity, distance=distance, exact_up_to=100_000)
        fallbacks += got.fallbacks
        expected = brute_force(items, [*everything], [*half], vectors, k, diversity, distance)
        for row, of in enumerate(expected):
            assert [*got.item[row]] == [place for place, _ in of] + [-1] * (k - len(of)), (seed, row)
            np.testing.assert_allclose(got.score[row, : len(of)], [score for _, score in of], rtol=0, atol=2e-6)
    assert fallbacks


def test_a_group_larger_than_the_shortlist_is_looked_beyond() -> None:
    """500 copies of one instruction in one group, and 500 that are nearly the same in another."""
    random = np.random.default_rng(0)
    vectors = points(600, 8)
    vectors[1:501] = vectors[0] + 0.02 * random.normal(size=(500, 8)).astype(np.float32)
    vector = np.concatenate([np.zeros(500, np.int64), np.arange(1, 600)])
    group = np.concatenate([np.zeros(500, np.int64), np.ones(500, np.int64), np.arange(2, 101)])
    items = Items(vector=vector, traits=plain(group))
    asked = np.r_[0:20, 490:510, 980:1_000, 1_050]
    got = rank(items.at(asked), items, vectors, k=4, diversity=0.3)
    queries = [0, 999, 1_050]
    expected = brute_force(items, queries, [*range(len(vector))], vectors, 4, 0.3, Distance.COSINE)
    found = dict(zip(asked.tolist(), got.item.tolist(), strict=True))
    assert [found[query] for query in queries] == [[place for place, _ in of] for of in expected]
    assert (group[got.item[:30]] != 0).all() and (group[got.item[30:60]] != 1).all()
    # What has one vector is looked at together; what is merely near fills shortlists.
    assert 30 <= got.fallbacks < 32
    assert got.passed[Leak.ITSELF] and got.passed[Leak.GROUP]


def test_where_guards_leave_nothing_or_less_than_k_the_list_is_shorter() -> None:
    vectors = points(50, 4)
    one = Items(vector=np.arange(50), traits=plain(np.zeros(50, np.int64)))
    assert (rank(one, one, vectors, k=4).item == -1).all()
    two = Items(vector=np.arange(50), traits=plain(np.r_[np.zeros(48, np.int64), 1, 2]))
    got = rank(two, two, vectors, k=4, diversity=0.3)
    assert {tuple(sorted(row)) for row in got.item[:48].tolist()} == {(-1, -1, 48, 49)}
    assert (got.item[:48, 2:] == -1).all() and np.isneginf(got.score[:48, 2:]).all()
    nothing = two.at(np.empty(0, np.int64))
    assert (rank(two, nothing, vectors, k=4).item == -1).all()
    assert rank(nothing, two, vectors, k=4).item.shape == (0, 4)


@pytest.mark.parametrize("distance", Distance)
def test_hnsw_finds_nearly_all_says_how_many_and_is_repeatable(distance: Distance) -> None:
    vectors = points(2_000, 16) * np.linspace(0.9, 1.1, 2_000, dtype=np.float32)[:, None]
    items = Items(vector=np.arange(2_000), traits=plain(np.arange(2_000) // 2))
    got, true = (
        rank(items, items, vectors, k=4, diversity=0.0, distance=distance, exact_up_to=up_to) for up_to in (100, 10_000)
    )
    assert (got.method, true.method, true.recall) == ("hnsw", "exact", 1.0)
    shared = np.mean([len({*one} & {*other}) / 4 for one, other in zip(got.item, true.item, strict=True)])
    assert got.recall > 0.97 and shared > 0.97
    assert abs(got.recall - shared) < 0.03
    again = rank(items, items, vectors, k=4, diversity=0.0, distance=distance, exact_up_to=100)
    np.testing.assert_array_equal(again.item, got.item)


def test_diversity_takes_what_is_unlike_and_says_how_alike_they_are() -> None:
    """By hand: 0.9, 0.8 and 0.5 to the query, 0.98 between the first two: half of each takes the third second."""
    query = np.array([1, 0, 0], np.float32)
    first, third = np.array([0.9, 0.19**0.5, 0]), np.array([0.5, 0, 0.75**0.5])
    second = np.array([0.8, 0.6, 0])
    vectors = np.stack([query, first, second, third]).astype(np.float32)
    items = Items(vector=np.arange(4), traits=plain(np.arange(4)))
    asked = items.at(np.array([0]))
    near = rank(asked, items, vectors, k=2, diversity=0.0)
    assert near.item.tolist() == [[1, 2]]
    assert near.alike == pytest.approx([0.9 * 0.8 + 0.19**0.5 * 0.6], abs=1e-6)
    unlike = rank(asked, items, vectors, k=2, diversity=0.5)
    assert unlike.item.tolist() == [[1, 3]]
    assert unlike.score[0] == pytest.approx([0.9, 0.5], abs=1e-6)
    assert unlike.alike == pytest.approx([0.45], abs=1e-6)


def test_equal_rows_are_collapsed_in_order_of_appearance() -> None:
    rows = np.array([[2, 1], [0, 1], [2, 1], [3, 3], [0, 1]], np.float32)
    distinct, which = collapse(rows)
    np.testing.assert_array_equal(distinct, rows[[0, 1, 3]])
    np.testing.assert_array_equal(which, [0, 1, 0, 2, 1])


def points(count: int, dimension: int) -> Vectors:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def plain(group: Ints) -> Traits:
    """Pairs that have nothing in common but their groups."""
    count, blank = np.arange(len(group)), np.ones(len(group), bool)
    return Traits(key=count, group=group, content=count, hashes=np.zeros((len(group), 1), np.uint64), blank=blank)
