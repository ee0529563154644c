"""Reads slices of Parquet files in place, from a disk or a bucket: footers, single columns, single row groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import Reject
from manifests.storage import Store
from operators.read.files import on_disk

_T = TypeVar("_T")

_OPEN_FILES = 4
_ROW_GROUPS = 2
"""Row groups kept in memory per process: the one being read, and the one a neighbour reaches back to. Those of
MagicBrush are the largest we know, 100 rows of some 1.7 MB."""

_FOOTERS_AT_A_TIME = 16  # a plan waits for a bucket's latency, hundreds of times


@lru_cache(maxsize=_OPEN_FILES)
def open_parquet(root: str, path: str) -> pq.ParquetFile:
    """An open file. Raises ValueError, naming the file and the way out, if its footer cannot be read."""
    try:
        store = Store(root)
        return pq.ParquetFile(store.open(on_disk(store, path)))
    except (pa.ArrowException, OSError) as error:
        if not _is_damage(error):
            raise
        raise ValueError(
            f"DATA: {root}/{path} is not a complete Parquet file ({error}); download it again, or remove it to go on "
            "without it"
        ) from error


def told_of_columns(file: pq.ParquetFile, taken: Mapping[str, str], also_read: Iterable[str] = ()) -> str:
    """Which columns of a file are taken for what, and which are not read, in words. `taken`: what, by column."""
    names = file.schema_arrow.names
    told = [name if name == what else f"{name} as {what}" for name, what in taken.items() if name in names]
    unread = [name for name in names if name not in {*taken, *also_read}]
    parts = (f"it takes {', '.join(told)}" if told else "", f"not read: {', '.join(unread)}" if unread else "")
    return "; ".join(filter(None, parts))


def in_footers(read: Callable[[pq.ParquetFile], _T], root: str, paths: Iterable[str]) -> Iterator[_T]:
    """What `read` makes of each file, in order, several at a time. Raises as `open_parquet` does."""
    with ThreadPoolExecutor(_FOOTERS_AT_A_TIME) as pool:
        yield from pool.map(lambda path: read(open_parquet.__wrapped__(root, path)), paths)


def read_row(root: str, path: str, index: int, columns: tuple[str, ...]) -> tuple[pa.Table, int]:
    """The row group that holds a row of a file, and the row's place in it.

    Raises Reject: missing, damaged.
    """
    try:
        file = open_parquet(root, path)
    except FileNotFoundError as error:
        raise Reject("missing", f"{path}: gone since it was listed") from error
    except ValueError as error:
        raise Reject("damaged", str(error)) from error
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if index < rows:
            table = _row_group(root, path, group, columns)
            if isinstance(table, str):
                raise Reject("damaged", f"{path}: row group {group} cannot be read: {table}")
            return table, index
        index -= rows
    raise Reject("damaged", f"{path} has fewer rows than when it was listed")


@lru_cache(maxsize=_ROW_GROUPS)
def _row_group(root: str, path: str, group: int, columns: tuple[str, ...]) -> pa.Table | str:
    """A row group, or what is wrong with it, so that each row of a damaged one does not try again."""
    file = open_parquet(root, path)
    try:
        return file.read_row_group(group, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        if not _is_damage(error):
            raise
        return str(error)


def _is_damage(error: Exception) -> bool:
    """Whether it is the file's fault: what disks and networks raise says more than a bare OSError."""
    return error.errno is None and type(error) is OSError if isinstance(error, OSError) else True
