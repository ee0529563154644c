"""Finds for each item the nearest other one: exactly while that is affordable, by faiss HNSW beyond.

Items are pairs of a dataset; each has a vector, a key and a group. Equal vectors are searched once. `search` shortlists
a few of the nearest distinct vectors of each; `choose` then takes, for each query, the best of their items that is
allowed: never one of the query's own group (the pair itself, or all pairs of its source image), and of items with equal
scores the one with the lowest key. Where no shortlisted item is allowed, or a vector that is not on the shortlist might
be as near, the query is compared with all vectors.

The result does not depend on threads, block sizes or BLAS: float32 sums, whose last bits do, only make shortlists, with
a margin for their errors. What is on a shortlist is scored again in float64, to DECIMALS places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from operators.retrieve.distance import Distance, Floats, Ints
from operators.retrieve.shortlist import Rows, exact, has_gpu, hnsw
from operators.shared.texts import Vectors

EXACT_UP_TO = 100_000
"""Distinct vectors up to which all are compared with all on a CPU.

The time of that grows with the square of their number, the time of HNSW little more than in proportion to it. They met
near 75,000 vectors of MiniLM where this was measured, and exactness is worth the minutes that it costs above.
"""

NEAREST = 4
"""How many distinct other vectors are shortlisted for each vector."""

RECALL_SAMPLE = 1_000
"""How many vectors the recall of HNSW is measured by."""

_WORTH_A_GPU = 16_384  # vectors: fewer take seconds on a CPU
_FALLBACK_BLOCK = 32  # queries that are compared with all vectors together
_CHOICE_BLOCK = 4_096  # queries whose shortlists are scored together

# Errors of float32 inner products are below 1e-6 of the squared length at a few hundred dimensions; ten times that.
_FLOAT32_MARGIN = 1e-5


@dataclass(frozen=True, kw_only=True)
class Members:
    """Items, each by the row of its vector, the rank of its key, and its group."""

    vector: Ints
    key: Ints
    group: Ints

    def at(self, which: Ints) -> Members:
        """The items at these positions."""
        return Members(vector=self.vector[which], key=self.key[which], group=self.group[which])


@dataclass(frozen=True, kw_only=True)
class Search:
    """The nearest other vectors of each: row numbers, in no order, -1 for none. All within `vectors`."""

    vectors: Vectors
    distance: Distance
    nearest: Rows
    method: str
    """"exact" or "hnsw"."""
    recall: float = 1.0
    """Share of a sample whose nearest other vector was found, or one as near."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """For each query the position of its nearest allowed item among the database's, or -1, and its score."""

    item: Ints
    score: Floats
    fallbacks: int
    """How many queries had to be compared with the whole database."""


def collapse(vectors: Vectors) -> tuple[Vectors, Ints]:
    """The distinct rows in order of appearance, and for each row which of them it is."""
    numbers: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in vectors)
    which = np.fromiter((numbers.setdefault(digest, len(numbers)) for digest in digests), np.int64, len(vectors))
    _, first = np.unique(which, return_index=True)
    return vectors[first], which


def ranks(names: Sequence[str]) -> Ints:
    """For each name its place among the distinct names in order."""
    order = {name: rank for rank, name in enumerate(sorted(set(names)))}
    return np.fromiter((order[name] for name in names), np.int64, len(names))


def search(
    vectors: Vectors, *, distance: Distance = Distance.COSINE, exact_up_to: int = EXACT_UP_TO, nearest: int = NEAREST
) -> Search:
    """The `nearest` distinct other vectors of each of n distinct ones."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    everything = np.arange(len(vectors))
    on_gpu = len(vectors) >= _WORTH_A_GPU and has_gpu()
    if on_gpu or len(vectors) <= exact_up_to:
        rows = exact(vectors, distance, everything, nearest, device="cuda" if on_gpu else "cpu")
        return Search(vectors=vectors, distance=distance, nearest=rows, method="exact")
    rows = hnsw(vectors, distance, nearest)
    recall = _recall(vectors, distance, rows)
    return Search(vectors=vectors, distance=distance, nearest=rows, method="hnsw", recall=recall)


def without_shortlist(vectors: Vectors, distance: Distance = Distance.COSINE) -> Search:
    """For a database of which the queries are no part: each of them is compared with all of it."""
    none = np.empty((len(vectors), 0), np.int32)
    return Search(vectors=np.ascontiguousarray(vectors, np.float32), distance=distance, nearest=none, method="exact")


def _recall(vectors: Vectors, distance: Distance, rows: Rows) -> float:
    """The share of a sample of vectors for which the nearest other vector, or one as near, is in their rows."""
    sample = np.random.default_rng(0).choice(len(vectors), min(RECALL_SAMPLE, len(vectors)), replace=False)
    best = exact(vectors, distance, sample, 1)[:, 0]
    found = rows[sample]
    scores = np.where(found >= 0, distance.score(vectors[sample, None], vectors[found]), -np.inf)
    return float((scores.max(1) >= distance.score(vectors[sample], vectors[best])).mean())


def choose(found: Search, queries: Members, database: Members) -> Choice:
    """For each query the nearest item of the database that is not of its group."""
    count = len(queries.vector)
    item, score, sure = np.full(count, -1, np.int64), np.full(count, -np.inf), np.zeros(count, bool)
    if not len(database.vector):
        return Choice(item=item, score=score, fallbacks=0)
    shelves = _Shelves(found, database)
    for some in _blocks(np.arange(count), _CHOICE_BLOCK):
        item[some], score[some], sure[some] = shelves.from_shortlist(queries.at(some))
    unsure = np.flatnonzero(~sure)
    for some in _blocks(unsure, _FALLBACK_BLOCK):
        item[some], score[some] = shelves.from_all(queries.at(some))
    return Choice(item=item, score=score, fallbacks=len(unsure))


class _Shelves:
    """The database's items, by their vector.

    Of the items with one vector, two are enough: the item with the lowest key, and for queries of that item's group,
    the lowest key of any other group.
    """

    def __init__(self, found: Search, database: Members) -> None:
        self._vectors, self._distance, self._nearest = found.vectors, found.distance, found.nearest
        self._key, self._group = database.key, database.group
        by_key = np.argsort(database.key, kind="stable")
        self._first = self._first_of_each_vector(by_key, database)
        of_first = database.group[self._first[database.vector]]
        self._second = self._first_of_each_vector(by_key[(database.group != of_first)[by_key]], database)
        self._filled = np.flatnonzero(self._first >= 0)  # the vectors that any item has
        self._points, self._penalties = found.distance.points(found.vectors)
        longest = max(1.0, float((self._points**2).sum(1).max(initial=0.0)))
        self._margin = _FLOAT32_MARGIN * longest

    def _first_of_each_vector(self, items: Ints, database: Members) -> Ints:
        """For each vector the first of these items that has it, or -1."""
        first = np.full(len(self._vectors), -1, np.int64)
        vectors, places = np.unique(database.vector[items], return_index=True)
        first[vectors] = items[places]
        return first

    def _allowed(self, vectors: Ints, group: Ints) -> Ints:
        """The item of each vector that a query of a group may have, or -1: [queries, vectors], `group` [queries, 1]."""
        first, second = self._first[vectors], self._second[vectors]
        return np.where((first >= 0) & (self._group[first] == group), second, first)

    def from_shortlist(self, queries: Members) -> tuple[Ints, Floats, NDArray[np.bool_]]:
        """The best shortlisted item of each query, its score, and whether no other item can be better."""
        others = self._nearest[queries.vector].astype(np.int64)
        candidates = np.hstack([queries.vector[:, None], others])  # the query's own vector may have other items
        scores = self._distance.score(self._vectors[queries.vector, None], self._vectors[candidates])
        items = np.where(candidates >= 0, self._allowed(candidates, queries.group[:, None]), -1)
        item, score = self._best(items, scores)
        # What is not on the shortlist is no nearer than the farthest on it, but for errors of float32.
        farthest = np.where(others >= 0, scores[:, 1:], np.inf).min(1, initial=np.inf)
        all_listed = len(self._vectors) - 1 <= others.shape[1]
        return item, score, all_listed | ((item >= 0) & (score > farthest + self._margin))

    def from_all(self, queries: Members) -> tuple[Ints, Floats]:
        """The best item of each query among all, and its score: -1 and -inf where none is allowed."""
        item, score = np.full(len(queries.vector), -1, np.int64), np.full(len(queries.vector), -np.inf)
        items = self._allowed(self._filled[None], queries.group[:, None])
        rough = self._points[queries.vector] @ self._points[self._filled].T - self._penalties[self._filled]
        rough[items < 0] = -np.inf
        for query in np.flatnonzero((items >= 0).any(1)):
            close = np.flatnonzero(rough[query] >= rough[query].max() - self._margin)
            vector = self._vectors[queries.vector[query]]
            scores = self._distance.score(vector[None], self._vectors[self._filled[close]])
            item[[query]], score[[query]] = self._best(items[[query]][:, close], scores[None])
        return item, score

    def _best(self, items: Ints, scores: Floats) -> tuple[Ints, Floats]:
        """In each row the item of the highest score, of equal ones that of the lowest key; -1 and -inf for no item."""
        scores = np.where(items >= 0, scores, -np.inf)
        best = np.lexsort((self._key[items], -scores), axis=1)[:, :1]
        return np.take_along_axis(items, best, 1)[:, 0], np.take_along_axis(scores, best, 1)[:, 0]


def _blocks(positions: Ints, size: int) -> Iterator[Ints]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]
