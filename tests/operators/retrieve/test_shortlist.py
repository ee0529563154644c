from __future__ import annotations

import numpy as np
import pytest

from operators.retrieve import shortlist
from operators.retrieve.nearest import Distance
from operators.shared.texts import Vectors


def test_the_shortlists_of_all_ways_have_the_same_scores() -> None:
    left, right = Distance.COSINE.sides(points(3_000, 24))
    scores = left @ right.T
    np.fill_diagonal(scores, -np.inf)
    expected = -np.sort(-scores, axis=1)[:, :4]
    ways = {
        "triangle": shortlist.exact_triangle(left, right, 4),
        "on": shortlist.exact_on("cpu", left, right, 4),
    }
    for way, rows in ways.items():
        found = -np.sort(-np.take_along_axis(scores, rows.astype(np.int64), 1), axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=way)
        assert all(len(set(row)) == 4 for row in rows), way
    best = shortlist.exact_rows(left, right, np.arange(3_000))
    np.testing.assert_allclose(scores[np.arange(3_000), best], expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_where_there_are_fewer_others_than_asked_for_the_rest_is_minus_one(count: int) -> None:
    vectors = points(count, 8)
    everyone = set(range(count))
    for rows in (
        shortlist.exact_triangle(vectors, vectors, 4),
        shortlist.exact_on("cpu", vectors, vectors, 4),
        shortlist.hnsw(vectors, 4),
    ):
        assert rows.shape == (count, 4)
        for item, row in enumerate(rows.tolist()):
            assert set(row) - {-1} == everyone - {item}
            assert row.count(-1) == 5 - count


def test_hnsw_is_the_same_each_time_and_restores_the_threads() -> None:
    import faiss

    threads = faiss.omp_get_max_threads()
    vectors = points(1_000, 8)
    first = shortlist.hnsw(vectors, 4)
    assert faiss.omp_get_max_threads() == threads
    np.testing.assert_array_equal(shortlist.hnsw(vectors, 4), first)
    assert not (first == np.arange(1_000)[:, None]).any()


def points(count: int, dimension: int) -> Vectors:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)
