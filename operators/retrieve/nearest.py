"""Finds for each item the nearest other one: exactly while that is affordable, by faiss HNSW beyond.

Items are pairs of a dataset; each has a vector, a key and a group. Equal vectors are searched once. `search` finds the
few nearest distinct vectors of each; `choose` then takes, for each query, the best of their items that is allowed:
never of the query's own group (the pair itself, or all pairs of its source image), of equal scores the lowest key.
Where none of the few is allowed, or more might be as near, all vectors are compared with that query's.

The result does not depend on threads, block sizes or BLAS: those only shortlist, with a margin for float32's errors,
and the shortlist is scored again in float64, to DECIMALS places. HNSW's graph depends on the order of insertion, so it
is built on one thread, which also makes it repeatable; its searches are independent of each other and use all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from operators.retrieve.shortlist import Ints, Rows, exact_on, exact_rows, exact_triangle, gpu, hnsw
from operators.shared.texts import Vectors

Floats = NDArray[np.float64]

DECIMALS = 6
"""Scores that agree to so many places are equal: float32 vectors do not say more."""

EXACT_UP_TO = 100_000
"""Distinct vectors up to which all are compared with all on a CPU.

MiniLM vectors of 40,000 instructions: 27 s of CPU, all pairs; HNSW 43 s, of which 13 to build. The first grows with
the square: they meet near 75,000, and at 100,000 exactness costs 170 s against 130, about a minute and a half on two
cores.
"""

NEAREST = 4
"""Distinct other vectors shortlisted for each."""

RECALL_SAMPLE = 1_000

_WORTH_A_GPU = 16_384  # vectors: fewer take seconds on a CPU, and PyTorch as long to be imported
_FALLBACK_BLOCK = 32  # queries
_CHOICE_BLOCK = 4_096  # queries


class Distance(StrEnum):
    """How near two vectors are, as a score of which more is nearer."""

    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"
    """Minus half the squared distance."""

    def sides(self, vectors: Vectors) -> tuple[Vectors, Vectors]:
        """Two matrices whose rows' inner products are the scores, so that one matrix product serves all distances."""
        if self is Distance.COSINE:
            lengths = np.sqrt(_squared(vectors))[:, None]
            vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        if self is not Distance.L2:
            return vectors, vectors
        half, one = -_squared(vectors)[:, None] / 2, np.ones((len(vectors), 1))
        sides = np.hstack([vectors, half, one]), np.hstack([vectors, one, half])
        return sides[0].astype(np.float32), sides[1].astype(np.float32)

    def score(self, left: Vectors, right: Vectors) -> Floats:
        """Scores of rows with rows, in float64, to DECIMALS places."""
        a, b = left.astype(np.float64), right.astype(np.float64)
        scores = -((a - b) ** 2).sum(-1) / 2 if self is Distance.L2 else (a * b).sum(-1)
        if self is Distance.COSINE:
            lengths = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
            scores = scores / np.where(lengths > 0, lengths, 1)
        rounded: Floats = np.round(scores, DECIMALS) + 0.0  # no -0.0
        return rounded


@dataclass(frozen=True, kw_only=True)
class Members:
    """Items, each by the row of its vector, the rank of its key, and its group."""

    vector: Ints
    key: Ints
    group: Ints


@dataclass(frozen=True, kw_only=True)
class Search:
    """The nearest other vectors of each: row numbers, in no order, -1 for none. All within `vectors`."""

    vectors: Vectors
    distance: Distance
    nearest: Rows
    method: str
    """"exact" or "hnsw"."""
    recall: float
    """Share of a sample whose nearest other vector was found, or one as near."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """For each query the position of its nearest allowed item among the database's, or -1, and its score."""

    item: Ints
    score: Floats
    fallbacks: int
    """Queries that had to be compared with everything."""


def _squared(vectors: Vectors) -> Floats:
    """The squared length of each row."""
    squared: Floats = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return squared


def collapse(vectors: Vectors) -> tuple[Vectors, Ints]:
    """The distinct rows in order of appearance, and for each row which of them it is."""
    numbers: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in vectors)
    which = np.fromiter((numbers.setdefault(digest, len(numbers)) for digest in digests), np.int64, len(vectors))
    first = np.empty(len(numbers), np.int64)
    first[which[::-1]] = np.arange(len(vectors) - 1, -1, -1)
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
    left, right = distance.sides(vectors)
    device = gpu() if len(vectors) >= _WORTH_A_GPU else None
    if device:
        return _found(vectors, distance, exact_on(device, left, right, nearest), "exact")
    if len(vectors) <= exact_up_to:
        return _found(vectors, distance, exact_triangle(left, right, nearest), "exact")
    rows = hnsw(vectors if distance is Distance.L2 else left, nearest, l2=distance is Distance.L2)
    sample = np.random.default_rng(0).choice(len(vectors), min(RECALL_SAMPLE, len(vectors)), replace=False)
    best = exact_rows(left, right, sample)
    found = np.where(rows[sample, :1] >= 0, rows[sample], rows[sample, :1]).astype(np.int64)
    scores = np.where(found >= 0, distance.score(vectors[sample, None], vectors[found]), -np.inf).max(1)
    recall = float((scores >= distance.score(vectors[sample], vectors[best])).mean())
    return _found(vectors, distance, rows, "hnsw", recall)


def without_shortlist(vectors: Vectors, distance: Distance = Distance.COSINE) -> Search:
    """For a database of which the queries are no part: each of them is compared with all of it."""
    return _found(np.ascontiguousarray(vectors, np.float32), distance, np.empty((len(vectors), 0), np.int32), "exact")


def _found(vectors: Vectors, distance: Distance, nearest: Rows, method: str, recall: float = 1.0) -> Search:
    return Search(vectors=vectors, distance=distance, nearest=nearest, method=method, recall=recall)


def choose(found: Search, queries: Members, database: Members) -> Choice:
    """For each query the nearest item of the database that is not of its group."""
    item, score = np.full(len(queries.vector), -1, np.int64), np.full(len(queries.vector), -np.inf)
    if not len(database.vector):
        return Choice(item=item, score=score, fallbacks=0)
    shelves = _Shelves(found, database)
    sure = np.zeros(len(queries.vector), bool)
    for start in range(0, len(item), _CHOICE_BLOCK):
        part = slice(start, start + _CHOICE_BLOCK)
        item[part], score[part], sure[part] = shelves.from_shortlist(queries.vector[part], queries.group[part])
    unsure = np.flatnonzero(~sure)
    for start in range(0, len(unsure), _FALLBACK_BLOCK):
        some = unsure[start : start + _FALLBACK_BLOCK]
        item[some], score[some] = shelves.from_all(queries.vector[some], queries.group[some])
    return Choice(item=item, score=score, fallbacks=len(unsure))


class _Shelves:
    """The database by vector: the items of each, lowest key first."""

    def __init__(self, found: Search, database: Members) -> None:
        self._found, self._database = found, database
        count = len(found.vectors)
        order = np.lexsort((database.key, database.vector))
        vector, group = database.vector[order], database.group[order]
        starts = np.flatnonzero(np.diff(vector, prepend=-1))
        # Per vector, its first item, and the first of another group than that: one of them is allowed, if any is.
        self._first, self._other = np.full((2, count), -1, np.int64)
        self._first[vector[starts]] = order[starts]
        differs = np.flatnonzero(group != database.group[self._first[vector]])
        vectors, firsts = np.unique(vector[differs], return_index=True)
        self._other[vectors] = order[differs[firsts]]
        self._filled = np.flatnonzero(self._first >= 0)
        self._left, self._right = found.distance.sides(found.vectors)
        # Errors of float32 inner products are below 1e-6 times the squared length at a few hundred dimensions.
        longest = max(
            1.0, float((self._left**2).sum(1).max(initial=0.0)), float((self._right**2).sum(1).max(initial=0))
        )
        self._margin = 1e-5 * longest

    def from_shortlist(self, vector: Ints, group: Ints) -> tuple[Ints, Floats, NDArray[np.bool_]]:
        """Item and score of each query, and whether no other can be better."""
        found = self._found
        near = np.hstack([vector[:, None], found.nearest[vector]]).astype(np.int64)
        scores = np.where(near >= 0, found.distance.score(found.vectors[vector, None], found.vectors[near]), np.inf)
        worst = np.where(near[:, 1:] >= 0, scores[:, 1:], np.inf).min(1, initial=np.inf)
        items = np.where(near >= 0, self._allowed(near, group[:, None]), -1)
        item, score = self._best(items, np.where(items >= 0, scores, -np.inf))
        complete = len(found.vectors) - 1 <= found.nearest.shape[1]
        return item, score, complete | ((item >= 0) & (score > worst + self._margin))

    def from_all(self, vector: Ints, group: Ints) -> tuple[Ints, Floats]:
        """Item and score of each query; -1 where nothing is allowed."""
        found = self._found
        item, score = np.full(len(vector), -1, np.int64), np.full(len(vector), -np.inf)
        allowed = self._allowed(np.broadcast_to(self._filled, (len(vector), len(self._filled))), group[:, None])
        scores = self._left[vector] @ self._right[self._filled].T
        scores[allowed < 0] = -np.inf
        for row in np.flatnonzero((allowed >= 0).any(1)):
            close = np.flatnonzero(scores[row] >= scores[row].max() - self._margin)
            exact = found.distance.score(found.vectors[vector[row]][None], found.vectors[self._filled[close]])
            best_item, best_score = self._best(allowed[row, close][None], exact[None])
            item[row], score[row] = best_item[0], best_score[0]
        return item, score

    def _allowed(self, near: Ints, group: Ints) -> Ints:
        """The item of each vector that a query of a group may have, or -1."""
        first = self._first[near]
        return np.where((first >= 0) & (self._database.group[first] == group), self._other[near], first)

    def _best(self, items: Ints, scores: Floats) -> tuple[Ints, Floats]:
        """In each row the item of the highest score, of the lowest key among equals."""
        top = scores.max(1)
        none = np.iinfo(np.int64).max
        keys = np.where((scores == top[:, None]) & (items >= 0), self._database.key[items], none)
        at = np.arange(len(items)), keys.argmin(1)
        return np.where(keys[at] < none, items[at], -1), top
