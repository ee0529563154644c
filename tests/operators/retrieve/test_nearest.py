from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.retrieve import nearest, shortlist
from operators.retrieve.distance import DECIMALS, Distance
from operators.retrieve.nearest import EXACT_UP_TO, Choice, Members, choose, collapse, ranks, search
from operators.shared.texts import Vectors


def brute_force(
    vectors: Vectors, keys: list[str], groups: list[str], distance: Distance = Distance.COSINE
) -> list[tuple[str, float] | None]:
    """For each item the nearest of another group, of equals the lowest key, with its score; one by one."""
    found: list[tuple[str, float] | None] = []
    for left, group in zip(vectors.astype(np.float64), groups, strict=True):
        allowed = []
        for right, key, other in zip(vectors.astype(np.float64), keys, groups, strict=True):
            score = left @ right
            if distance is Distance.COSINE:
                score /= np.linalg.norm(left) * np.linalg.norm(right)
            if distance is Distance.L2:
                score = -((left - right) @ (left - right)) / 2
            if other != group:
                allowed.append((-round(float(score), DECIMALS), key))
        found.append((min(allowed)[1], -min(allowed)[0]) if allowed else None)
    return found


def same(choice: nearest.Choice, keys: list[str], expected: list[tuple[str, float] | None]) -> None:
    got = [keys[item] if item >= 0 else None for item in choice.item]
    assert got == [entry[0] if entry else None for entry in expected]
    scores = [entry[1] if entry else -np.inf for entry in expected]
    np.testing.assert_allclose(choice.score, scores, rtol=0, atol=2e-6)


@pytest.fixture(params=[3, 2_048])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks smaller than the input, and larger."""
    monkeypatch.setattr(shortlist, "_SCORES_AT_ONCE", request.param * 50)
    monkeypatch.setattr(nearest, "_FALLBACK_BLOCK", request.param)
    monkeypatch.setattr(nearest, "_CHOICE_BLOCK", request.param)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_brute_force_over_duplicates_ties_and_groups(seed: int, distance: Distance) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 60))
    # Few distinct vectors on a coarse grid: most are repeated, and many different ones are equally near.
    vectors = random.integers(-1, 2, (int(random.integers(1, 20)), 4)).astype(np.float32) * 3 + 0.5
    vectors = vectors[random.integers(0, len(vectors), count)]
    keys = [f"{key:03d}" for key in random.permutation(count)]
    groups = [f"group {group}" for group in random.integers(0, max(1, count // 4), count)]
    for by in (keys, groups):
        expected = brute_force(vectors, keys, by, distance)
        same(nearest_other(vectors, keys, by, distance=distance), keys, expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=25))
def test_it_agrees_with_brute_force_on_any_duplicates_and_groups(items: list[tuple[int, int]]) -> None:
    table = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    vectors = table[[vector for vector, _ in items]]
    keys = [f"{7 * number % len(items):02d} {number}" for number in range(len(items))]
    groups = [str(group) for _, group in items]
    same(nearest_other(vectors, keys, groups), keys, brute_force(vectors, keys, groups))


@pytest.mark.usefixtures("blocks")
def test_many_random_vectors_in_blocks_agree_with_brute_force() -> None:
    vectors, keys = points(400, 16), [f"{key:03d}" for key in range(400)]
    same(nearest_other(vectors, keys), keys, brute_force(vectors, keys, keys))


@pytest.mark.parametrize("distance", Distance)
def test_hnsw_finds_nearly_all_says_how_many_and_is_repeatable(distance: Distance) -> None:
    vectors = points(2_000, 16) * np.linspace(0.9, 1.1, 2_000, dtype=np.float32)[:, None]
    found = search(vectors, distance=distance, exact_up_to=100)
    exact = search(vectors, distance=distance)
    assert (found.method, exact.method, exact.recall) == ("hnsw", "exact", 1.0)
    members = Members(vector=np.arange(2_000), key=np.arange(2_000), group=np.arange(2_000))
    approximate, true = (choose(way, members, members) for way in (found, exact))
    assert np.isclose(found.recall, (approximate.score >= true.score).mean(), atol=0.02)
    assert found.recall > 0.98
    assert not (approximate.item == np.arange(2_000)).any()
    np.testing.assert_array_equal(search(vectors, distance=distance, exact_up_to=100).nearest, found.nearest)


def test_a_group_larger_than_the_shortlist_falls_back_to_all() -> None:
    # Twenty nearly equal vectors of one picture, and one far away of another.
    vectors = np.ones((21, 8), np.float32) + 0.01 * points(21, 8)
    vectors[20] *= -1
    keys, groups = [f"{key:02d}" for key in range(21)], ["one"] * 20 + ["other"]
    choice = nearest_other(vectors, keys, groups)
    assert list(choice.item[:20]) == [20] * 20
    assert choice.fallbacks >= 20
    same(choice, keys, brute_force(vectors, keys, groups))


def test_more_equally_near_vectors_than_the_shortlist_holds_give_the_lowest_key() -> None:
    # Axis vectors: each is as near to all others, the lowest keys come last.
    vectors, keys = np.eye(40, dtype=np.float32), [f"{40 - key:02d}" for key in range(40)]
    choice = nearest_other(vectors, keys)
    assert [keys[item] for item in choice.item] == ["01"] * 39 + ["02"]


def test_the_order_of_the_items_does_not_matter() -> None:
    random = np.random.default_rng(3)
    vectors = points(30, 4)[random.integers(0, 30, 120)]
    keys = [f"{key:03d}" for key in range(120)]
    order = random.permutation(120)
    first, second = nearest_other(vectors, keys), nearest_other(vectors[order], [keys[item] for item in order])
    for place, item in enumerate(order):
        assert keys[first.item[item]] == keys[order[second.item[place]]]


def test_queries_and_database_may_be_different_items() -> None:
    vectors = points(12, 4)
    queries = Members(vector=np.arange(6), key=np.arange(6), group=np.arange(6))
    database = Members(vector=np.arange(6, 12), key=np.arange(6), group=np.arange(100, 106))
    choice = choose(search(vectors), queries, database)
    np.testing.assert_array_equal(choice.item, vectors[:6].dot(vectors[6:].T / norms(vectors[6:])).argmax(1))
    nothing = Members(vector=np.empty(0, np.int64), key=np.empty(0, np.int64), group=np.empty(0, np.int64))
    assert (choose(search(vectors), queries, nothing).item == -1).all()


def test_equal_rows_are_collapsed_in_order_of_appearance() -> None:
    rows = np.array([[2, 1], [0, 1], [2, 1], [3, 3], [0, 1]], np.float32)
    distinct, which = collapse(rows)
    np.testing.assert_array_equal(distinct, rows[[0, 1, 3]])
    np.testing.assert_array_equal(which, [0, 1, 0, 2, 1])
    np.testing.assert_array_equal(ranks(["b", "a", "b", "c"]), [1, 0, 1, 2])


def points(count: int, dimension: int) -> Vectors:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def norms(vectors: Vectors) -> Any:
    return np.linalg.norm(vectors, axis=1)


def nearest_other(
    vectors: Vectors,
    keys: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    distance: Distance = Distance.COSINE,
    exact_up_to: int = EXACT_UP_TO,
) -> Choice:
    """For each of n items, the nearest of those with another key and, if given, another group."""
    distinct, which = collapse(vectors)
    members = Members(vector=which, key=ranks(keys), group=ranks(groups or keys))
    return choose(search(distinct, distance=distance, exact_up_to=exact_up_to), members, members)
