"""Shortlists the nearest other vectors of each vector: all compared with all by PyTorch, or by faiss' HNSW.

The rows of a shortlist are numbers of vectors, in no promised order, with -1 where there are fewer others than were
asked for. Scores are float32 here, so that of two equally near vectors either may be listed.

All with all is a matrix product and `torch.topk`, on a CPU or a GPU alike. faiss' IndexFlat does the same and takes
three times as long on a CPU (20,000 vectors of MiniLM's 384 dimensions; `make bench` compares them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.retrieve.distance import Distance, Ints
from operators.shared.extras import need
from operators.shared.texts import Vectors

Rows = NDArray[np.int32]

HNSW_LINKS, HNSW_BUILD, HNSW_SEARCH = 32, 40, 128
"""The parameters of HNSW that faiss calls M, efConstruction and efSearch."""

_SCORES_AT_ONCE = 2**25  # float32 scores that are held at a time: 128 MiB


def has_gpu() -> bool:
    """Whether there is a GPU that PyTorch can use."""
    return bool(need("torch").cuda.is_available())


def exact(vectors: Vectors, distance: Distance, rows: Ints, nearest: int, *, device: str = "cpu") -> Rows:
    """The `nearest` other vectors of those at `rows`, each compared with all the others: [rows, nearest]."""
    torch = need("torch")
    points, penalties = (torch.from_numpy(part).to(device) for part in distance.points(vectors))
    found = np.full((len(rows), nearest), -1, np.int32)
    count = min(nearest, len(vectors) - 1)
    if count < 1:
        return found
    step = max(1, _SCORES_AT_ONCE // len(vectors))
    for start in range(0, len(rows), step):
        some = torch.from_numpy(rows[start : start + step]).to(device)
        scores = points[some] @ points.T - penalties
        scores.scatter_(1, some[:, None], -torch.inf)  # a vector is no neighbour of its own
        found[start : start + step, :count] = torch.topk(scores, count, dim=1).indices.cpu().numpy()
    return found


def exact_among(queries: Vectors, database: Vectors, distance: Distance, nearest: int, *, device: str = "cpu") -> Rows:
    """The `nearest` vectors of a database for each query, each compared with all of them: [queries, nearest]."""
    torch = need("torch")
    points, penalties = (torch.from_numpy(part).to(device) for part in distance.points(database))
    asked = torch.from_numpy(distance.points(queries)[0])
    found = np.full((len(queries), nearest), -1, np.int32)
    count = min(nearest, len(database))
    step = max(1, _SCORES_AT_ONCE // len(database))
    for start in range(0, len(queries), step):
        scores = asked[start : start + step].to(device) @ points.T - penalties
        found[start : start + step, :count] = torch.topk(scores, count, dim=1).indices.cpu().numpy()
    return found


def hnsw(vectors: Vectors, distance: Distance, nearest: int) -> Rows:
    """Probably the `nearest` other vectors of each: [n, nearest]."""
    points, _ = distance.points(vectors)
    _, found = _graph(points, distance).search(points, nearest + 1)
    # Of nearest + 1 found ones, drop the vector itself, or the last and farthest where it is not among them.
    dropped = found == np.arange(len(vectors))[:, None]
    dropped[~dropped.any(1), -1] = True
    rows: Rows = found[~dropped].reshape(len(vectors), nearest).astype(np.int32)
    return rows


def hnsw_among(queries: Vectors, database: Vectors, distance: Distance, nearest: int) -> Rows:
    """Probably the `nearest` vectors of a database for each query: [queries, nearest]."""
    index = _graph(distance.points(database)[0], distance)
    index.hnsw.efSearch = max(HNSW_SEARCH, nearest)
    _, found = index.search(distance.points(queries)[0], nearest)
    rows: Rows = found.astype(np.int32)
    return rows


def _graph(points: Vectors, distance: Distance) -> Any:
    """faiss' index over points.

    One thread builds the graph, which depends on the order of insertion, so that it is always the same. The searches do
    not depend on each other and use all threads.
    """
    faiss: Any = need("faiss")
    metric = faiss.METRIC_L2 if distance is Distance.L2 else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(points.shape[1], HNSW_LINKS, metric)
    index.hnsw.efConstruction, index.hnsw.efSearch = HNSW_BUILD, HNSW_SEARCH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index.add(points)
    finally:
        faiss.omp_set_num_threads(threads)
    return index
