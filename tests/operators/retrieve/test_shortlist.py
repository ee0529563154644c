from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from operators.retrieve import shortlist
from operators.retrieve.distance import Distance
from operators.shared.texts import Vectors


@pytest.mark.parametrize("distance", Distance)
def test_exact_shortlists_have_the_scores_of_brute_force_in_float64(distance: Distance) -> None:
    vectors = points(1_500, 24) * np.linspace(0.5, 2, 1_500, dtype=np.float32)[:, None]
    scores = brute_force(vectors, distance)
    expected = -np.sort(-scores, axis=1)[:, :4]
    rows = shortlist.exact(vectors, distance, np.arange(1_500), 4)
    found = -np.sort(-np.take_along_axis(scores, rows.astype(np.int64), 1), axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert all(len(set(row)) == 4 for row in rows)
    some = np.array([7, 1_400, 0])
    best = shortlist.exact(vectors, distance, some, 1)[:, 0]
    np.testing.assert_allclose(scores[some, best], expected[some, 0], atol=2e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_where_there_are_fewer_others_than_asked_for_the_rest_is_minus_one(count: int) -> None:
    vectors = points(count, 8)
    everyone = set(range(count))
    for rows in (
        shortlist.exact(vectors, Distance.DOT, np.arange(count), 4),
        shortlist.hnsw(vectors, Distance.DOT, 4),
    ):
        assert rows.shape == (count, 4)
        for item, row in enumerate(rows.tolist()):
            assert set(row) - {-1} == everyone - {item}
            assert row.count(-1) == 5 - count


def test_hnsw_is_the_same_each_time_and_restores_the_threads() -> None:
    import faiss

    threads = faiss.omp_get_max_threads()
    vectors = points(1_000, 8)
    first = shortlist.hnsw(vectors, Distance.DOT, 4)
    assert faiss.omp_get_max_threads() == threads
    np.testing.assert_array_equal(shortlist.hnsw(vectors, Distance.DOT, 4), first)
    assert not (first == np.arange(1_000)[:, None]).any()


def brute_force(vectors: Vectors, distance: Distance) -> NDArray[np.float64]:
    """The scores of all with all, -inf on the diagonal."""
    wide = vectors.astype(np.float64)
    if distance is Distance.COSINE:
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    scores = wide @ wide.T
    if distance is Distance.L2:
        scores = -((wide[:, None] - wide[None]) ** 2).sum(-1) / 2
    np.fill_diagonal(scores, -np.inf)
    return scores


def points(count: int, dimension: int) -> Vectors:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)
