"""A guard file: the perceptual hashes of evaluation sets, by which their images are kept out of training data.

set     name of the evaluation set
path    of the image below the set's folder; row and column follow for one inside a Parquet file; <pair>.<role> for one
        of a dataset directory
phash   16 hex digits
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from manifests.dataset import Dataset, DatasetError, write_table
from manifests.images.phash import phash
from manifests.images.pixels import MAX_BYTES
from manifests.parquet import ParquetFile, refuse_large_pages
from manifests.schema import Reject, in_a_line
from manifests.storage import Store, is_hidden, spelled_out

GUARD = pa.schema(
    [
        pa.field("set", pa.string(), False),
        pa.field("path", pa.string(), False),
        pa.field("phash", pa.string(), False),
    ]
)

_IMAGE_ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_ROWS = 64
_FLAT = "it is flat, or cannot be decoded"


@dataclass(frozen=True, kw_only=True)
class Hashed:
    """What became of a folder: its images with a hash, and those without, by path, and why."""

    images: int
    unguarded: list[tuple[str, str]]
    hidden: int
    """Hidden files, which are not looked at."""


def hash_folder(folder: str, name: str, out: str) -> Hashed:
    """Add an evaluation set to a guard file, or make the file; rows of a set of that name are replaced.

    All images below the folder, by their endings, and those inside Parquet files as hubs publish them (structs with
    `bytes`). Of a dataset directory, as `xprompt shards --split` makes one, the pictures of its pairs; the colours of
    depth, labels and normals are no pictures. Folder and file may be fsspec URLs.

    Raises ValueError if there is no image, or if the dataset is unfinished: what it lacks would not be kept out.
    """
    rows, unguarded = [], []
    dataset = Dataset(folder)
    hidden = 0
    if dataset.store.exists("plan.parquet"):
        found = _of_dataset(dataset)
    else:
        files, hidden = _listed(dataset.store)
        found = _of_images(dataset.store, files)
    for path, digits, why_not in found:
        if digits:
            rows.append({"set": name, "path": path, "phash": digits})
        else:
            unguarded.append((path, why_not))
    if not rows:
        raise ValueError(f"{folder} has no image that can be hashed")
    store, file = _located(out)
    others = [row for row in read_guard(store.read(file), out) if row["set"] != name] if store.exists(file) else []
    rows = sorted(others + rows, key=lambda row: (row["set"], row["path"]))
    write_table(store, file, pa.Table.from_pylist(rows, schema=GUARD), {})
    return Hashed(images=len(rows) - len(others), unguarded=unguarded, hidden=hidden)


def _listed(store: Store) -> tuple[dict[str, int], int]:
    """Path and bytes of each file of a folder, by path, and how many more are hidden."""
    entries = {
        full.removeprefix(store.root).lstrip("/"): one for full, one in store.fs.find(store.root, detail=True).items()
    }
    shown = {path: entries[path]["size"] or 0 for path in sorted(entries) if not any(map(is_hidden, path.split("/")))}
    return shown, len(entries) - len(shown)


def _of_images(store: Store, files: Mapping[str, int]) -> Iterator[tuple[str, str | None, str]]:
    """Path and hash of each image below a folder, and why it has none."""
    for path, data in _images(store, files):
        try:
            yield path, phash(data), "it is flat"
        except Reject as reject:
            yield path, None, reject.message


def _of_dataset(dataset: Dataset) -> Iterator[tuple[str, str | None, str]]:
    """<pair>.<role> and hash of each picture of a dataset, as its manifests have them, and why it has none.

    Raises DatasetError if one of its units is not committed.
    """
    if len(dataset.committed()) < dataset.plan().units:
        raise DatasetError(f"{dataset.url} is unfinished: run the command that makes it again, then this one")
    for pair in dataset.pairs():
        record = pair.record
        steps = [step["operator"] for step in record["steps"]]
        coloured = ("input" if "swap" in steps else "target") if "colour_dense" in steps else ""
        for image in record["images"]:
            if image["role"] != coloured:
                yield f"{pair.key}.{image['role']}", image["phash"], _FLAT


def read_guard(data: bytes, name: str) -> list[dict[str, str]]:
    """The rows of a guard file. Raises ValueError, with its name, for anything else."""
    try:
        file = ParquetFile(io.BytesIO(data))
        refuse_large_pages(data, file.metadata)
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, DatasetError) as error:
        raise ValueError(f"{name} is not a guard file: {in_a_line(error)}") from None
    if not table.schema.equals(GUARD):
        raise ValueError(f"{name} is not a guard file: `xprompt hashes` writes one")
    rows: list[dict[str, str]] = table.to_pylist()
    return rows


def read_guard_file(path: str) -> bytes:
    """The bytes of a guard file at a path or URL."""
    store, file = _located(path)
    return store.read(file)


def _located(path: str) -> tuple[Store, str]:
    folder, slash, file = path.rpartition("/")
    return Store(folder or slash or "."), file


def _images(store: Store, files: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """Path, as a guard file can hold it, and bytes of each image among some files."""
    for path, size in files.items():
        if path.lower().endswith(".parquet"):
            yield from _images_in_parquet(store, path)
        elif path.lower().endswith(_IMAGE_ENDINGS):
            # What is too large is named, not read: `phash` rejects the empty file.
            yield spelled_out(path), store.read(path) if size <= MAX_BYTES else b""


def _images_in_parquet(store: Store, path: str) -> Iterator[tuple[str, bytes]]:
    with store.open(path) as opened:
        try:
            file = ParquetFile(opened)
        except (pa.ArrowException, OSError) as error:
            raise _incomplete(store, path, error) from None
        columns = [
            column.name
            for column in file.schema_arrow
            if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0
        ]
        row = 0
        for batch in _whole(file.iter_batches(batch_size=_ROWS, columns=columns), store, path):
            for values in batch.to_pylist():
                for column in columns:
                    if (values[column] or {}).get("bytes"):
                        yield f"{spelled_out(path)}#{row}.{column}", values[column]["bytes"]
                row += 1


def _whole(batches: Iterator[pa.RecordBatch], store: Store, path: str) -> Iterator[pa.RecordBatch]:
    """The batches of a file. Raises ValueError, naming it, where one is damaged: its images would not be kept out."""
    try:
        for batch in batches:
            batch.validate(full=True)
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise _incomplete(store, path, error) from None


def _incomplete(store: Store, path: str, error: Exception) -> ValueError:
    return ValueError(f"{spelled_out(store.path(path))} is not a complete Parquet file: {in_a_line(error)}")
