"""Ranks for each query the k nearest items of a database that it may be shown: exactly while that is affordable, by
faiss HNSW beyond.

A query's *pool* is its nearest allowed items, POOL_A_CHOICE times k of them, of equally near ones the earlier, and no
more than k of one vector, or a common instruction would fill it. The k are taken of the pool by maximal marginal
relevance (Carbonell and Goldstein, SIGIR 1998): the nearest first, then always the one with the largest

    (1 - diversity) similarity to the query - diversity (largest similarity to those taken before)

so that with a diversity of 0 they are the k nearest. What a query may not be shown `operators.retrieve.leaks` says.

Equal vectors are searched once. A shortlist has the nearest distinct vectors of each; where guards strike so many of it
that something beyond might belong to the pool, the query is compared with the whole database. Of a vector that many
items share, few need to be looked at: k of one original picture, 2 k + 1 in all.

The result does not depend on threads, block sizes or BLAS: float32 sums, whose last bits do, only make shortlists, with
a margin for their errors. What counts is scored in float64, to DECIMALS places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from operators.retrieve.distance import DECIMALS, Distance, Floats, Ints
from operators.retrieve.leaks import Leak, Traits, leaks
from operators.retrieve.shortlist import Rows, exact_among, has_gpu, hnsw_among
from operators.shared.texts import Vectors

POOL_A_CHOICE = 8
"""How many items maximal marginal relevance chooses one of: 32 of which 4 are taken."""

EXACT_UP_TO = 100_000
"""Distinct vectors up to which all are compared with all on a CPU.

The time of that grows with the square of their number, the time of HNSW little more than in proportion to it. They met
near 75,000 vectors of MiniLM where this was measured, and exactness is worth the minutes that it costs above.
"""

RECALL_SAMPLE = 1_000
"""How many vectors the recall of HNSW is measured by."""

_SHORTLIST_A_POOL, _LEAST_SHORTLIST = 2.0, 16
_WORTH_A_GPU = 16_384  # vectors: fewer take seconds on a CPU
_NUMBERS_AT_ONCE = 2**24  # of vectors that are scored together: 128 MiB in float64
_FALLBACK_BLOCK = 64  # queries that are compared with the whole database together
_FIRST_LOOK, _LOOK_GROWS = 512, 8  # items that are looked at when all are compared, and by how much more if too few

# Errors of float32 inner products are below 1e-6 of the squared length at a few hundred dimensions; ten times that.
_FLOAT32_MARGIN = 1e-5


@dataclass(frozen=True, kw_only=True)
class Items:
    """Pairs, each with the row of its vector and what leaks are told by. Their order decides between equals."""

    vector: Ints
    traits: Traits

    def at(self, which: Ints) -> Items:
        """The items at these positions."""
        return Items(vector=self.vector[which], traits=self.traits.at(which))


def collapse(vectors: Vectors) -> tuple[Vectors, Ints]:
    """The distinct rows in order of appearance, and for each row which of them it is."""
    numbers: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in vectors)
    which = np.fromiter((numbers.setdefault(digest, len(numbers)) for digest in digests), np.int64, len(vectors))
    _, first = np.unique(which, return_index=True)
    return vectors[first], which


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """What was found for q queries."""

    item: Ints
    """[q, k]: positions in the database, the best first, -1 where there are no more."""
    score: Floats
    """[q, k]: their similarity to the query; -inf where there are no more."""
    passed: dict[Leak, int] = field(default_factory=dict)
    """How many items were near enough to be taken and left out, by why."""
    alike: Floats = field(default_factory=lambda: np.empty(0))
    """The mean similarity of each two of a query's choices, for the queries that have two or more."""
    method: str = "exact"
    """"exact" or "hnsw"."""
    recall: float = 1.0
    """Of a sample of queries, the share of as many nearest vectors as a pool may have that are on the shortlist, or of
    ones as near."""
    fallbacks: int = 0
    """How many queries were compared with the whole database."""


def rank(
    queries: Items,
    database: Items,
    vectors: Vectors,
    *,
    k: int,
    diversity: float = 0.0,
    distance: Distance = Distance.COSINE,
    exact_up_to: int = EXACT_UP_TO,
) -> Ranked:
    """The k items of the database for each query. `exact_up_to` is the number of distinct vectors up to which all are
    compared with all on a CPU."""
    count = len(queries.vector)
    item, score = np.full((count, k), -1, np.int64), np.full((count, k), -np.inf)
    if not count or not len(database.vector):
        return Ranked(item=item, score=score)
    shelves = _Shelves(database, vectors, distance, k)
    asked, query_of = np.unique(queries.vector, return_inverse=True)
    pool = POOL_A_CHOICE * k if k > 1 else 1
    listed = _shortlist(
        shelves, vectors[asked], distance, pool, max(_LEAST_SHORTLIST, round(_SHORTLIST_A_POOL * pool)), exact_up_to
    )
    passed, alike, unsure = np.zeros(len(Leak), np.int64), [], []

    def take(some: Ints, found: _Pools) -> None:
        item[some], score[some], likeness = _diverse(found, shelves, k, diversity)
        alike.append(likeness)
        np.add(passed, found.passed, out=passed)

    step = max(1, _NUMBERS_AT_ONCE // (listed.rows.shape[1] * vectors.shape[1]))
    for some in _blocks(np.arange(count), step):
        found, sure = shelves.from_shortlist(queries.at(some), vectors, listed.rows[query_of[some]], pool)
        unsure.append(some[~sure])
        take(some[sure], found.of(sure))
    late = np.concatenate(unsure)
    for some in _blocks(late, _FALLBACK_BLOCK):
        take(some, shelves.from_all(queries.at(some), vectors, pool))
    return Ranked(
        item=item,
        score=score,
        passed={why: int(passed[why]) for why in Leak if why},
        alike=np.concatenate(alike),
        method=listed.method,
        recall=listed.recall,
        fallbacks=len(late),
    )


@dataclass(frozen=True, kw_only=True)
class _Shortlist:
    rows: Rows
    method: str
    recall: float


def _shortlist(
    shelves: _Shelves, asked: Vectors, distance: Distance, pool: int, nearest: int, exact_up_to: int
) -> _Shortlist:
    """The nearest of the database's distinct vectors for each vector that is asked with."""
    there = shelves.vectors
    on_gpu = len(there) >= _WORTH_A_GPU and has_gpu()
    if on_gpu or len(asked) * len(there) <= exact_up_to**2:
        rows = exact_among(asked, there, distance, nearest, device="cuda" if on_gpu else "cpu")
        return _Shortlist(rows=rows, method="exact", recall=1.0)
    rows = hnsw_among(asked, there, distance, nearest)
    sample = np.random.default_rng(0).choice(len(asked), min(RECALL_SAMPLE, len(asked)), replace=False)
    best = exact_among(asked[sample], there, distance, min(pool, len(there)))
    found = 0
    for some in _blocks(np.arange(len(sample)), 64):
        own = _lengthened(asked[sample[some]])
        true, got = (shelves.scores(own, found_of.astype(np.int64)) for found_of in (best[some], rows[sample[some]]))
        # Of equals any may be listed: what counts is how many are as near as the farthest that ought to be there.
        found += int((got >= true.min(1, keepdims=True)).sum(1).clip(max=true.shape[1]).sum())
    return _Shortlist(rows=rows, method="hnsw", recall=found / best.size)


@dataclass(frozen=True, kw_only=True)
class _Pools:
    """For each of some queries the items that its k are taken of, nearest first, -1 and -inf for none: [q, pool]."""

    item: Ints
    score: Floats
    passed_by: Ints
    """[q, Leak]: how many items were left out before the last that is in."""

    @property
    def passed(self) -> Ints:
        counts: Ints = self.passed_by.sum(0)
        return counts

    def of(self, which: NDArray[np.bool_]) -> _Pools:
        """Those of some of the queries."""
        return _Pools(item=self.item[which], score=self.score[which], passed_by=self.passed_by[which])


class _Shelves:
    """The database's items by their distinct vectors, which are numbered in order of their first items.

    `_items` has those of each vector one after the other, in their order, and at most k of one original picture,
    2 k + 1 in all: whoever may not have itself and those of one of the pictures still finds the first k of the others.
    `_is_cut` are the vectors of which there are more.
    """

    def __init__(self, database: Items, vectors: Vectors, distance: Distance, k: int) -> None:
        self._k, self._distance, self._traits = k, distance, database.traits
        used, first, numbers = np.unique(database.vector, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        self._number = np.empty(len(used), np.int64)
        self._number[order] = np.arange(len(used))
        self._used = used
        self._vector = self._number[numbers]
        self.vectors: Vectors = np.ascontiguousarray(vectors[used[order]], np.float32)
        self._squared = np.einsum("nd,nd->n", self.vectors, self.vectors, dtype=np.float64)
        self._points, self._penalties = distance.points(self.vectors)
        longest = max(1.0, float(np.einsum("nd,nd->n", self._points, self._points).max()))
        self._margin = _FLOAT32_MARGIN * longest
        group = database.traits.group
        everything = np.arange(len(group))
        by_picture = np.lexsort((everything, group, self._vector))
        few = by_picture[_places_in_run(self._vector[by_picture], group[by_picture]) < k]
        few = few[np.lexsort((few, self._vector[few]))]
        kept = few[_places_in_run(self._vector[few]) <= 2 * k]
        self._items = kept
        self._count = np.bincount(self._vector[kept], minlength=len(used))
        self._start = np.cumsum(self._count) - self._count
        self._is_cut = self._count < np.bincount(self._vector, minlength=len(used))

    def scores(self, left: Floats, vectors: Ints) -> Floats:
        """The similarity of lengthened vectors [q, d + 1] and database's vectors [q, n], rounded; -inf for -1."""
        dots = np.matmul(self.vectors[vectors].astype(np.float64), left[:, :-1, None])[:, :, 0]
        return self._rounded(dots, left[:, -1:], vectors)

    def _rounded(self, dots: Floats, squared: Floats, vectors: Ints) -> Floats:
        if self._distance is Distance.L2:
            dots = dots - (squared + self._squared[vectors]) / 2
        elif self._distance is Distance.COSINE:
            lengths = np.sqrt(squared * self._squared[vectors])
            dots = dots / np.where(lengths > 0, lengths, 1)
        rounded: Floats = np.where(vectors >= 0, np.round(dots, DECIMALS) + 0.0, -np.inf)
        return rounded

    def vectors_of(self, items: Ints) -> Ints:
        """The vector of each item of the database, -1 for -1."""
        vectors: Ints = np.where(items >= 0, self._vector[items], -1)
        return vectors

    def from_shortlist(
        self, queries: Items, vectors: Vectors, listed: Rows, pool: int
    ) -> tuple[_Pools, NDArray[np.bool_]]:
        """The queries' pools by their shortlists, and of which it is sure that nothing else belongs into them."""
        candidates = self._with_own(queries.vector, listed.astype(np.int64))
        scores = self.scores(_lengthened(vectors[queries.vector]), candidates)
        counts = np.where(candidates >= 0, self._count[candidates], 0).ravel()
        of = np.repeat(np.arange(counts.size), counts)  # the candidate that each item is of
        place = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
        vector = candidates.ravel()[of]
        item = self._items[self._start[vector] + place]
        query, score = of // candidates.shape[1], scores.ravel()[of]
        order = np.lexsort((item, -score, query))
        query, vector, item, score = query[order], vector[order], item[order], score[order]
        why = leaks(queries.traits.at(query), self._traits.at(item))
        pools, short = self._pooled(len(queries.vector), query, vector, item, score, why, pool)
        # What is not on the shortlist is no nearer than the farthest on it, but for errors of float32.
        farthest = np.where(candidates >= 0, scores, np.inf)[:, :-1].min(1)
        all_listed = len(self.vectors) <= listed.shape[1]
        sure = all_listed | (pools.score[:, -1] > farthest + self._margin)
        return pools, sure & ~short

    def _with_own(self, own: Ints, listed: Ints) -> Ints:
        """The shortlists with the queries' own vectors, which HNSW may have missed, if an item has them."""
        place = np.searchsorted(self._used, own).clip(max=len(self._used) - 1)
        number = np.where(self._used[place] == own, self._number[place], -1)
        missed = (number >= 0) & ~(listed == number[:, None]).any(1)
        return np.hstack([listed, np.where(missed, number, -1)[:, None]])

    def _pooled(
        self, queries: int, query: Ints, vector: Ints, item: Ints, score: Floats, why: NDArray[np.uint8], pool: int
    ) -> tuple[_Pools, NDArray[np.bool_]]:
        """Pools of items in order of query and nearness, and whether a query was stopped by an end of a cut shelf."""
        run = query * len(self.vectors) + vector
        allowed = np.flatnonzero(why == 0)
        by_run = allowed[np.argsort(run[allowed], kind="stable")]
        enough = by_run[_places_in_run(run[by_run]) < self._k]
        kept = np.sort(enough)
        rank = _places_in_run(query[kept])
        kept, rank = kept[rank < pool], rank[rank < pool]
        items, scores = np.full((queries, pool), -1, np.int64), np.full((queries, pool), -np.inf)
        items[query[kept], rank], scores[query[kept], rank] = item[kept], score[kept]
        last = np.full(queries, len(query), np.int64)  # where a full pool ends
        last[query[kept[rank == pool - 1]]] = kept[rank == pool - 1]
        struck = np.flatnonzero((why != 0) & (np.arange(len(query)) < last[query]))
        passed = np.zeros((queries, len(Leak)), np.int64)
        np.add.at(passed, (query[struck], why[struck]), 1)
        # A shelf is cut so that strikes of a query's own picture are made up for; others may leave it too short.
        others = struck[(why[struck] > Leak.GROUP) & self._is_cut[vector[struck]]]
        short = np.zeros(queries, bool)
        if len(others):
            runs, counts = np.unique(run[allowed], return_counts=True)
            place = np.searchsorted(runs, run[others]).clip(max=max(0, len(runs) - 1))
            there = np.where(runs[place] == run[others], counts[place], 0) if len(runs) else np.zeros(len(others))
            short[query[others[there < self._k]]] = True
        return _Pools(item=items, score=scores, passed_by=passed), short

    def from_all(self, queries: Items, vectors: Vectors, pool: int) -> _Pools:
        """The pools of queries that are compared with the whole database."""
        points, _ = self._distance.points(vectors[queries.vector])
        own = _lengthened(vectors[queries.vector])
        rough = points @ self._points.T - self._penalties
        found = [
            self._from_all(queries.at(np.array([row])), own[row : row + 1], rough[row], pool) for row in range(len(own))
        ]
        return _Pools(
            item=np.concatenate([one.item for one in found]),
            score=np.concatenate([one.score for one in found]),
            passed_by=np.concatenate([one.passed_by for one in found]),
        )

    def _from_all(self, query: Items, own: Floats, rough: NDArray[np.float32], pool: int) -> _Pools:
        """The pool of one query: of all items but those of its own picture, more and more of the nearest."""
        others = np.flatnonzero(self._traits.group != query.traits.group)
        near = rough[self._vector[others]]
        look = _FIRST_LOOK
        while True:
            if look < len(others):
                some = np.argpartition(-near, look)[:look]
                beyond = float(near[some].min()) + self._margin
                item = np.sort(others[some])
            else:
                beyond, item = -np.inf, others
            distinct, of = np.unique(self._vector[item], return_inverse=True)
            score = self.scores(own, distinct[None])[0][of]
            order = np.lexsort((item, -score))
            item, score = item[order], score[order]
            why = leaks(query.traits.at(np.zeros(len(item), np.int64)), self._traits.at(item))
            pools, _ = self._pooled(1, np.zeros(len(item), np.int64), self._vector[item], item, score, why, pool)
            # As rough scores go; the penalty of L2 leaves half the query's squared length out.
            last = pools.score[0, -1] + (own[0, -1] / 2 if self._distance is Distance.L2 else 0.0)
            if look >= len(others) or last > beyond:
                return pools
            look *= _LOOK_GROWS


def _diverse(pools: _Pools, shelves: _Shelves, k: int, diversity: float) -> tuple[Ints, Floats, Floats]:
    """Of each pool k by maximal marginal relevance: items, scores, and the mean likeness of those that have two."""
    queries, size = pools.item.shape
    rows = np.arange(queries)
    item, score = np.full((queries, k), -1, np.int64), np.full((queries, k), -np.inf)
    vector = shelves.vectors_of(pools.item)
    is_open = pools.item >= 0
    likest = np.zeros((queries, size))
    likeness, pairs = np.zeros(queries), np.zeros(queries, np.int64)
    taken: list[Ints] = []
    for place in range(min(k, size)):
        relevance = np.where(is_open, pools.score, 0.0)
        value = relevance if not taken else (1 - diversity) * relevance - diversity * likest
        best = np.where(is_open, np.round(value, DECIMALS + 3), -np.inf).argmax(1)
        there = is_open[rows, best]
        item[there, place], score[there, place] = pools.item[rows, best][there], pools.score[rows, best][there]
        is_open[rows, best] = False
        if k == 1:
            break
        alike = np.where(pools.item >= 0, shelves.scores(_lengthened(shelves.vectors[vector[rows, best]]), vector), 0.0)
        for earlier in taken:
            likeness[there] += alike[rows, earlier][there]
            pairs[there] += 1
        likest = np.maximum(likest, alike) if taken else alike
        taken.append(best)
    several = pairs > 0
    return item, score, likeness[several] / pairs[several]


def _lengthened(vectors: Vectors) -> Floats:
    """Vectors [q, d] in float64, with their squared length as one number more: [q, d + 1]."""
    long = np.empty((len(vectors), vectors.shape[1] + 1))
    long[:, :-1] = vectors
    long[:, -1] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return long


def _places_in_run(*columns: Ints) -> Ints:
    """For each row its place in its run of rows that are equal in all columns."""
    count = len(columns[0])
    if not count:
        return np.empty(0, np.int64)
    new = np.ones(count, bool)
    new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    starts = np.flatnonzero(new)
    places: Ints = np.arange(count) - np.repeat(starts, np.diff(np.append(starts, count)))
    return places


def _blocks(positions: Ints, size: int) -> Iterator[Ints]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]
