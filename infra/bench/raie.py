"""Retrieval of the nearest other instruction: ours against brute force and faiss' indices. `make bench` runs it.

At each size, of that many distinct instructions embedded by MiniLM: CPU time (all threads, so that a busy machine does
not matter much), its ratio to brute force, bytes held beyond the vectors, and recall@1 against brute force.
infra/bench/contexts.py runs the whole retrieval.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from infra.bench.instructions import instructions
from operators.retrieve.distance import Distance, Ints
from operators.retrieve.shortlist import Rows, exact, hnsw
from operators.shared.extras import need
from operators.shared.texts import MiniLM, Vectors

_BLOCK = 2_048


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to find the nearest other vector: some candidates a row, and the bytes it held beyond the vectors."""

    name: str
    find: Callable[[Vectors], tuple[Rows | Ints, int]]


def main() -> int:
    arguments = _parser().parse_args()
    texts = list(dict.fromkeys(instructions(2 * max(arguments.sizes))))[: max(arguments.sizes)]
    with Clock() as clock:
        vectors = MiniLM()(texts)
    print(f"MiniLM: {len(texts) / clock.cpu_s:.0f} texts a CPU second")
    for size in arguments.sizes:
        _compare(vectors[:size])
    return 0


def _compare(vectors: Vectors) -> None:
    print(f"\n{len(vectors):,} distinct instructions")
    print(f"{'':<28} {'CPU s':>8} {'of brute force':>15} {'MiB held':>9} {'recall@1':>9}   wall s, noisy")
    best: Ints | None = None
    brute_s = 0.0
    for way in WAYS:
        with Clock() as clock:
            rows, held_bytes = way.find(vectors)
        if best is None:
            best, brute_s = rows[:, 0].astype(np.int64), clock.cpu_s
        print(
            f"{way.name:<28} {clock.cpu_s:>8.2f} {clock.cpu_s / brute_s:>15.2f} {held_bytes / 2**20:>9.0f} "
            f"{_recall(vectors, rows, best):>9.4f}   {clock.wall_s:.1f}",
            flush=True,
        )


def _recall(vectors: Vectors, rows: Rows | Ints, best: Ints) -> float:
    """Share of rows among whose candidates, itself left out, is one as near as the best."""
    itself = np.arange(len(vectors))
    found = np.full(len(vectors), -np.inf, np.float32)
    for column in rows.T.astype(np.int64):
        scores = np.einsum("nd,nd->n", vectors, vectors[column])
        found = np.maximum(found, np.where((column >= 0) & (column != itself), scores, -np.inf))
    return float((found >= np.einsum("nd,nd->n", vectors, vectors[best]) - 1e-6).mean())


def _brute_force(vectors: Vectors) -> tuple[Ints, int]:
    best = np.empty((len(vectors), 1), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        scores = vectors[start : start + _BLOCK] @ vectors.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -np.inf
        best[start : start + _BLOCK, 0] = scores.argmax(1)
    return best, 4 * _BLOCK * len(vectors)


def _exact(vectors: Vectors) -> tuple[Rows, int]:
    rows = exact(vectors, Distance.COSINE, np.arange(len(vectors)), 4)
    return rows, rows.nbytes + vectors.nbytes + 128 * 2**20


def _faiss(make: Callable[[Any, Vectors], Any]) -> Callable[[Vectors], tuple[Ints, int]]:
    def find(vectors: Vectors) -> tuple[Ints, int]:
        faiss = need("faiss")
        index = make(faiss, vectors)
        _, rows = index.search(vectors, 5)
        return rows, int(faiss.serialize_index(index).nbytes)

    return find


def _flat(faiss: Any, vectors: Vectors) -> Any:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _ivf(probes: int) -> Callable[[Any, Vectors], Any]:
    def make(faiss: Any, vectors: Vectors) -> Any:
        dimension, lists = vectors.shape[1], int(2 * len(vectors) ** 0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1
        index.train(vectors)
        index.add(vectors)
        index.nprobe = probes
        return index

    return make


def _hnsw(vectors: Vectors) -> tuple[Rows, int]:
    links = 2 * 32 + 2  # faiss' M, both ways, on the ground floor, which has nearly all
    return hnsw(vectors, Distance.COSINE, 4), len(vectors) * 4 * (vectors.shape[1] + links)


WAYS = (
    Way(name="brute force, numpy", find=_brute_force),
    Way(name="ours: exact, torch", find=_exact),
    Way(name="faiss flat", find=_faiss(_flat)),
    Way(name="ours: HNSW, 32 links, ef 128", find=_hnsw),
    Way(name="faiss IVF, 16 probes", find=_faiss(_ivf(16))),
    Way(name="faiss IVF, 64 probes", find=_faiss(_ivf(64))),
)


def stand_ins(embedder: MiniLM, texts: list[str]) -> Vectors:
    """Means of the model's word embeddings, earlier words a little heavier, so that order matters."""
    model, tokenizer = embedder._loaded
    words: Vectors = model.embeddings.word_embeddings.weight.detach().numpy()
    words = words - words.mean(0)
    vectors = np.empty((len(texts), words.shape[1]), np.float32)
    for row, encoding in enumerate(tokenizer.encode_batch(texts)):
        ids = encoding.ids[1:-1]
        vectors[row] = (1 / (1 + 0.05 * np.arange(len(ids)))).astype(np.float32) @ words[ids]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


class Clock:
    """`with Clock() as clock: ...`, then its CPU time, all threads, and wall time."""

    cpu_s = wall_s = 0.0

    def __enter__(self) -> Clock:
        self.cpu_s, self.wall_s = -time.process_time(), -time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s += time.process_time()
        self.wall_s += time.perf_counter()

    def __str__(self) -> str:
        return f"{self.cpu_s:.0f} s of CPU, {self.wall_s:.0f} s wall"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.bench.raie", description="Nearest instructions, side by side."
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[2_000, 8_000], help="distinct instructions (default: 2000 8000)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
