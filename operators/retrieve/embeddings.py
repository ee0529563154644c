"""Keeps a dataset's vectors of texts and images in `embeddings/<embedder>.parquet`, so that none is embedded twice.

One row a distinct text, by the sha256 of its UTF-8, or a distinct image file, by its own, in the order of these; the
vector as a fixed-size list. The file's metadata names the embedder's fingerprint: with another one the file is written
anew. MiniLM takes nearly an hour of CPU for 361,000 texts, so what is done is written down now and then.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from manifests.dataset import Dataset, write_table
from manifests.parquet import ParquetFile
from manifests.records import METADATA, parse_json
from operators.retrieve.images import ImageFileEmbedder
from operators.shared.texts import Embedder, StoredEmbedder, Vectors

_SAVE_EVERY = 65_536  # texts: 100 MB, five to ten minutes
_SAVE_IMAGES_EVERY = 16_384  # images: about a minute's
_IMAGES_AT_ONCE = 64  # that are in memory
_ROW_GROUP_ROWS = 65_536


def embed(dataset: Dataset, embedder: Embedder, texts: Sequence[str]) -> tuple[Vectors, int]:
    """The vectors of distinct texts, and how many had to be embedded now. The file then holds these and no others."""
    names = [hashlib.sha256(text.encode()).digest() for text in texts]
    return _embed(
        dataset, embedder, "text_sha256", names, _SAVE_EVERY, lambda some: embedder([texts[row] for row in some])
    )


def embed_images(
    dataset: Dataset, embedder: ImageFileEmbedder, images: Mapping[str, Callable[[], bytes]]
) -> tuple[Vectors, int]:
    """The vectors of distinct image files, each by the sha256 of its bytes with what reads it, and how many had to be
    embedded now. The file then holds these and no others."""
    readers = [*images.values()]
    return _embed(
        dataset,
        embedder,
        "image_sha256",
        [bytes.fromhex(name) for name in images],
        _SAVE_IMAGES_EVERY,
        lambda some: np.concatenate(
            [
                embedder([readers[row]() for row in some[start : start + _IMAGES_AT_ONCE]])
                for start in range(0, len(some), _IMAGES_AT_ONCE)
            ]
        ),
    )


def _embed(
    dataset: Dataset,
    embedder: StoredEmbedder,
    column: str,
    names: Sequence[bytes],
    save_every: int,
    make: Callable[[list[int]], Vectors],
) -> tuple[Vectors, int]:
    """The vectors of what has these names; `make` embeds what is in some places among them."""
    file = f"embeddings/{embedder.name}.parquet"
    order = sorted(range(len(names)), key=names.__getitem__)
    place = {names[row]: position for position, row in enumerate(order)}
    vectors = np.zeros((len(names), embedder.dimension), np.float32)
    done = np.zeros(len(names), bool)
    kept = 0
    for group, found in _stored(dataset, file, column, embedder):
        kept += len(group)
        at = np.array([place.get(name, -1) for name in group], np.int64)
        vectors[at[at >= 0]] = found[at >= 0]
        done[at[at >= 0]] = True
    new = np.flatnonzero(~done)
    for start in range(0, len(new), save_every):
        some = new[start : start + save_every]
        vectors[some] = make([order[position] for position in some])
        done[some] = True
        _store(dataset, file, column, embedder, [names[row] for row in order], vectors, done)
    if not len(new) and kept != len(names):
        _store(dataset, file, column, embedder, [names[row] for row in order], vectors, done)
    back = np.empty(len(names), np.int64)
    back[order] = np.arange(len(names))
    return vectors[back], len(new)


def _stored(
    dataset: Dataset, file: str, column: str, embedder: StoredEmbedder
) -> Iterator[tuple[list[bytes], Vectors]]:
    """The names and vectors in a file of this embedder, a row group at a time; nothing if it is damaged."""
    if not dataset.store.exists(file):
        return
    try:
        parquet = ParquetFile(io.BytesIO(dataset.store.read(file)), page_checksum_verification=True)
        metadata = parse_json((parquet.schema_arrow.metadata or {}).get(METADATA, b"{}"))
        if not isinstance(metadata, dict) or metadata.get("fingerprint") != embedder.fingerprint:
            return
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group)
            values = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield table[column].to_pylist(), values.reshape(-1, embedder.dimension)
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return


def _store(
    dataset: Dataset,
    file: str,
    column: str,
    embedder: StoredEmbedder,
    names: list[bytes],
    vectors: Vectors,
    done: np.ndarray[Any, Any],
) -> None:
    rows = np.flatnonzero(done)
    values = pa.array(vectors[rows].reshape(-1), pa.float32())
    columns = {
        column: pa.array([names[row] for row in rows], pa.binary(32)),
        "vector": pa.FixedSizeListArray.from_arrays(values, embedder.dimension),
    }
    metadata = {"embedder": embedder.name, "version": embedder.version, "fingerprint": embedder.fingerprint}
    write_table(dataset.store, file, pa.table(columns), metadata, range(_ROW_GROUP_ROWS, len(rows), _ROW_GROUP_ROWS))
