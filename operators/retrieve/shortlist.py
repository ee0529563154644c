"""Shortlists the nearest other vectors of each of many: all with all, or by faiss' HNSW.

A score is the inner product of a row of `left` with a row of `right`; the matrix of all scores is symmetric. Rows of
the result are in no order, with -1 where there are fewer others.

A CPU core (Zen 1, AVX2) does 28 GFLOP/s, so that an entry of the matrix costs 27 ns at 384 dimensions; keeping the best
adds 3. Hence half the matrix, and most entries are only compared with the worst that is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.shared.extras import need
from operators.shared.texts import Vectors

Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

HNSW_LINKS, HNSW_BUILD, HNSW_SEARCH = 32, 40, 128
"""faiss' M, efConstruction and efSearch."""

_BLOCK = 2_048  # vectors: 16 MiB of scores at a time
_FEW = 32  # rows of the whole matrix at a time


def gpu() -> str | None:
    """The name of a GPU that PyTorch can use."""
    try:
        return "cuda" if need("torch").cuda.is_available() else None
    except ImportError:
        return None


def exact_on(device: str, left: Vectors, right: Vectors, nearest: int) -> Rows:
    """The nearest others by PyTorch, whole rows of the matrix of scores at a time."""
    torch = need("torch")
    count = min(nearest, len(left) - 1)
    rows = np.full((len(left), nearest), -1, np.int32)
    right_on = torch.from_numpy(right).to(device)
    for start in range(0, len(left) if count > 0 else 0, _BLOCK):
        scores = torch.from_numpy(left[start : start + _BLOCK]).to(device) @ right_on.T
        scores.diagonal(start).fill_(-torch.inf)
        rows[start : start + _BLOCK, :count] = torch.topk(scores, count, dim=1).indices.cpu().numpy()
    return rows


def exact_triangle(left: Vectors, right: Vectors, nearest: int) -> Rows:
    """The nearest others by blocks of the upper triangle: the matrix of scores is symmetric."""
    best = _Best(len(left), nearest)
    for top in range(0, len(left), _BLOCK):
        for start in range(top, len(left), _BLOCK):
            scores = left[top : top + _BLOCK] @ right[start : start + _BLOCK].T
            if start == top:
                np.fill_diagonal(scores, -np.inf)
            else:
                best.take(start, top, scores.T)
            best.take(top, start, scores)
    return best.rows


class _Best:
    """The best `nearest` columns of each row of a matrix that comes in blocks."""

    def __init__(self, count: int, nearest: int) -> None:
        self.rows = np.full((count, nearest), -1, np.int32)
        self._scores = np.full((count, nearest), -np.inf, np.float32)
        self._worst = np.full(count, -np.inf, np.float32)

    def take(self, row: int, column: int, scores: NDArray[np.float32]) -> None:
        """Take in the block whose first entry is at `row` and `column`. Few entries of a late block are good enough."""
        better = scores > self._worst[row : row + len(scores), None]
        if np.count_nonzero(better) > better.size // 64:
            scores = np.ascontiguousarray(scores)
            scores, columns = self._top(scores, np.arange(column, column + scores.shape[1], dtype=np.int32)[None])
            self._merge(np.arange(row, row + len(scores)), scores, columns)
            return
        if better.flags.c_contiguous:
            at_row, at_column = np.nonzero(better)
        else:  # nonzero is much faster along the memory
            at_column, at_row = np.nonzero(better.T)
        # The n-th good entry of its row, round by round; most rows have none or one.
        while len(at_row):
            rows, firsts = np.unique(at_row, return_index=True)
            found = at_column[firsts]
            self._merge(row + rows, scores[rows, found, None], (column + found)[:, None].astype(np.int32))
            rest = np.ones(len(at_row), bool)
            rest[firsts] = False
            at_row, at_column = at_row[rest], at_column[rest]

    def _merge(self, rows: Ints, scores: NDArray[np.float32], columns: Rows) -> None:
        scores, columns = self._top(np.hstack([self._scores[rows], scores]), np.hstack([self.rows[rows], columns]))
        self._scores[rows], self.rows[rows] = scores, columns
        self._worst[rows] = scores.min(1)

    def _top(self, scores: NDArray[np.float32], columns: Rows) -> tuple[NDArray[np.float32], Rows]:
        nearest = self.rows.shape[1]
        columns = np.broadcast_to(columns, scores.shape)
        if scores.shape[1] <= nearest:
            return scores, np.where(np.isneginf(scores), -1, columns).astype(np.int32)
        top = np.argpartition(scores, -nearest, axis=1)[:, -nearest:]
        scores = np.take_along_axis(scores, top, 1)
        return scores, np.where(np.isneginf(scores), -1, np.take_along_axis(columns, top, 1)).astype(np.int32)


def exact_rows(left: Vectors, right: Vectors, rows: Ints) -> Ints:
    """The nearest other vector of a few."""
    best = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), _FEW):
        some = rows[start : start + _FEW]
        scores = left[some] @ right.T
        scores[np.arange(len(some)), some] = -np.inf
        best[start : start + _FEW] = scores.argmax(1)
    return best


def hnsw(vectors: Vectors, nearest: int, *, l2: bool = False) -> Rows:
    """Probably the nearest others. One thread builds, so that the graph is always the same."""
    faiss: Any = need("faiss")
    metric = faiss.METRIC_L2 if l2 else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(vectors.shape[1], HNSW_LINKS, metric)
    index.hnsw.efConstruction, index.hnsw.efSearch = HNSW_BUILD, HNSW_SEARCH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.add(vectors)
    finally:
        faiss.omp_set_num_threads(threads)
    _, found = index.search(vectors, nearest + 1)
    # Drop itself where it is among them, else the last, which is the farthest; the others keep their order.
    itself = found == np.arange(len(vectors))[:, None]
    itself[~itself.any(1), -1] = True
    rows: Rows = found[~itself].reshape(len(vectors), nearest).astype(np.int32)
    return rows
