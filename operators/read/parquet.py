"""Reads slices of Parquet files in place, from a disk or a bucket: footers, single columns, a few rows.

Files that went through other programs hold the same values in other types. Numbers, names and texts are read by what
they say, in whatever type they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import lru_cache, partial
from typing import TypeVar

import pyarrow as pa

from manifests.images.pixels import MAX_BYTES
from manifests.parquet import ParquetFile
from manifests.schema import Reject, in_a_line
from operators.read.files import open_file

_T = TypeVar("_T")

IMAGES_AT_ONCE = (2**31 - 1) // MAX_BYTES
"""Rows that are read together: of a column, as many of the largest images that are kept as Arrow can hold."""

_OPEN_FILES = 4
_ROW_GROUPS = 2
"""Row groups that a process reads at a time: the one being read, and the one a neighbour reaches back to."""

_KEPT_BYTES = 512 * 2**20
"""Most that is kept in memory of a row group's rows. Those of MagicBrush are the largest published ones that we know,
100 rows of some 1.7 MB; what is re-saved by other programs may have all its rows in one, gigabytes."""

_BUFFERED_BYTES = 64 * 2**20
"""What is read of a column at a time where a row group has more than `_KEPT_BYTES`; else a column is read whole."""

_FOOTERS_AT_A_TIME = 16  # a plan waits for a bucket's latency, hundreds of times


@lru_cache(maxsize=_OPEN_FILES)
def open_parquet(root: str, path: str) -> ParquetFile:
    """An open file. Raises ValueError, naming the file and the way out, if it is none or its footer cannot be read,
    and FileNotFoundError, which says the same, if it has gone or is a link to nothing, as in a hub cache with a part of
    its blobs.
    """
    try:
        return ParquetFile(open_file(root, path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"DATA: {root}/{path} has gone or is a link to nothing; download it again, or remove it to go on without it"
        ) from error
    except Reject as reject:
        raise ValueError(f"DATA: {root}/{reject.message}; remove it to go on without it") from reject
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        raise ValueError(
            f"DATA: {root}/{path} is not a complete Parquet file ({in_a_line(error)}); download it again, or remove it "
            "to go on without it"
        ) from error


def told_of_columns(file: ParquetFile, taken: Mapping[str, str], also_read: Iterable[str] = ()) -> str:
    """Which columns of a file are taken for what, and which are not read, in words. `taken`: what, by column."""
    names = file.schema_arrow.names
    told = [name if name == what else f"{name} as {what}" for name, what in taken.items() if name in names]
    unread = [name for name in names if name not in {*taken, *also_read}]
    parts = (f"it takes {', '.join(told)}" if told else "", f"not read: {', '.join(unread)}" if unread else "")
    return "; ".join(filter(None, parts))


def in_footers(read: Callable[[ParquetFile], _T], root: str, paths: Sequence[str]) -> Iterator[_T]:
    """What `read` makes of each file, in order, several at a time.

    Raises as `open_parquet` does, and ValueError, naming the file, for one that `read` cannot read or refuses so.
    """

    def read_one(path: str) -> _T:
        file = open_parquet.__wrapped__(root, path)
        try:
            return read(file)
        except (pa.ArrowException, OSError) as error:
            if not is_damage(error):
                raise
            raise ValueError(
                f"DATA: {root}/{path} cannot be read ({in_a_line(error)}); download it again, or remove it"
            ) from error
        except ValueError as error:
            raise ValueError(f"DATA: {root}/{path}: {error}") from None

    if len(paths) == 1:  # as for each row of a table: threads would take longer than the file
        yield read_one(paths[0])
        return
    with ThreadPoolExecutor(_FOOTERS_AT_A_TIME) as pool:
        yield from pool.map(read_one, paths)


def read_row(root: str, path: str, index: int, columns: tuple[str, ...], at_once: int) -> dict[str, object]:
    """The values of a row of a file, by column; columns that the file lacks are not in it.

    `at_once` rows are read together, of which a column must fit into 2 GiB, which is Arrow's limit. Raises Reject:
    missing, damaged.
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
            found = _row_group(root, path, group, columns, at_once).row(index)
            if isinstance(found, str):
                raise Reject("damaged", f"{path}: row group {group} cannot be read: {found}")
            batch, place = found
            try:
                return {name: batch.column(name)[place].as_py() for name in batch.schema.names}
            except UnicodeDecodeError as error:
                raise Reject("damaged", f"{path}: a text of the row is not UTF-8 at its byte {error.start}") from None
        index -= rows
    raise Reject("damaged", f"{path} has fewer rows than when it was listed")


def as_number(value: object) -> float | None:
    """The finite number that a value is or spells out ("6.5"), None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_name(value: object) -> str:
    """A value as a name: text as it is, whole numbers without a point (7.0 is "7"), "" for null and NaN.

    A column of whole numbers with a gap becomes one of floats where pandas writes it.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value == int(value) else str(value)
    return "" if value is None else str(value)


def as_text(value: object) -> str:
    """A text as it is; "" for what is none: null, blanks, or how a program spelled that there is none ("nan")."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) and text.strip().lower() not in _NO_TEXTS else ""


_NO_TEXTS = ("", "nan", "none", "null", "<na>")
"""What pandas and others make of a missing text that is turned into one."""


class _RowGroup:
    """A row group that is read from its front, some rows at a time; the last that were read are kept."""

    def __init__(self, file: ParquetFile, group: int, columns: tuple[str, ...], at_once: int) -> None:
        self._read: Callable[[], Iterator[pa.RecordBatch]] = partial(
            file.iter_batches, at_once, row_groups=[group], columns=list(columns)
        )
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._next = -1
        self._kept: list[tuple[int, pa.RecordBatch]] = []
        self._fault: tuple[int, str] | None = None

    def row(self, index: int) -> tuple[pa.RecordBatch, int] | str:
        """The rows that a row is among, and its place there; or what is wrong with it.

        A damaged one costs what comes behind it too, whoever asks first.
        """
        if self._fault and index >= self._fault[0]:
            return self._fault[1]
        for first, batch in self._kept:
            if first <= index < first + batch.num_rows:
                return batch, index - first
        if not 0 <= self._next <= index:
            self._batches, self._next, self._kept = self._read(), 0, []
        while True:
            try:
                batch = next(self._batches)
            except (pa.ArrowException, OSError, StopIteration) as error:
                if not is_damage(error):
                    raise
                ended = isinstance(error, StopIteration)
                self._fault = (self._next, "it ends before its last row" if ended else in_a_line(error))
                self._next = -1
                return self._fault[1]
            first, self._next = self._next, self._next + batch.num_rows
            self._kept.append((first, batch))
            while len(self._kept) > 1 and sum(kept.nbytes for _, kept in self._kept) > _KEPT_BYTES:
                del self._kept[0]
            if index < self._next:
                return batch, index - first


@lru_cache(maxsize=_ROW_GROUPS)
def _row_group(root: str, path: str, group: int, columns: tuple[str, ...], at_once: int) -> _RowGroup:
    """A row group of an open file."""
    file = open_parquet(root, path)
    if file.metadata.row_group(group).total_byte_size > _KEPT_BYTES:
        file = ParquetFile(open_file(root, path), metadata=file.metadata, buffer_size=_BUFFERED_BYTES)
    return _RowGroup(file, group, columns, at_once)


def is_damage(error: Exception) -> bool:
    """Whether it is the file's fault: what disks and networks raise says more than a bare OSError."""
    return error.errno is None and type(error) is OSError if isinstance(error, OSError) else True
