from __future__ import annotations

import numpy as np
import pytest

from operators.retrieve import ranked, shortlist
from operators.retrieve.distance import Distance
from operators.retrieve.leaks import Traits
from operators.retrieve.ranked import Items, rank
from operators.shared.texts import Vectors

FAR = 2**63 - 1


def similarity(left: Vectors, right: Vectors, distance: Distance) -> float:
    """By hand, in float64, to six places."""
    a, b = [float(x) for x in left], [float(x) for x in right]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    if distance is Distance.L2:
        return round(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / 2, 6)
    if distance is Distance.COSINE:
        dot /= (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return round(dot, 6)


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
    for query in queries:
        own = vectors[items.vector[query]]
        near = []
        for place, item in enumerate(database):
            if not leaks_by_hand(items.traits, query, item):
                near.append((-similarity(own, vectors[items.vector[item]], distance), place))
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
                    (
                        similarity(
                            vectors[items.vector[database[other]]], vectors[items.vector[database[place]]], distance
                        )
                        for other, _ in taken
                    ),
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
    count = int(random.integers(1, 90))
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
    for seed in range(12):
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
