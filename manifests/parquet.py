"""Parquet files as all of ours are read: by the thread that asks for them, and no other.

By default Arrow reads a file in threads of its own. One of them may be the last to let go of a Python file, or of bytes
that it gave, after what was read has been handed out. If the interpreter is ending by then, the thread is ended where
C++ allows no end, and the process aborts, with nothing wrong ("terminate called without an active exception", status
134). Our work is spread over processes, so its own threads would gain nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import DatasetError

MAX_OPEN_BYTES = 2**28
"""Most that the largest pages of a row group's columns may have unpacked, all columns together: they are in memory at
the same time. Pages of ours have a MiB at most."""

_WHOLE_NUMBERS = (4, 5, 6)  # the compact protocol's i16, i32 and i64
_TRUE, _FALSE, _BINARY, _STRUCT = 1, 2, 8, 12
_UNPACKED, _PACKED = 2, 3  # fields of PageHeader
_DEEPEST = 4


class ParquetFile(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
    """An open file. Raises as pyarrow's does."""

    def __init__(
        self,
        source: BinaryIO,
        *,
        metadata: pq.FileMetaData | None = None,
        buffer_size: int = 0,
        page_checksum_verification: bool = False,
    ) -> None:
        super().__init__(
            source,
            metadata=metadata,
            buffer_size=buffer_size,
            pre_buffer=False,
            page_checksum_verification=page_checksum_verification,
        )

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        return super().read(columns and [*columns], use_threads=False)

    def read_row_group(self, i: int, columns: Sequence[str] | None = None) -> pa.Table:
        return super().read_row_group(i, columns=columns and [*columns], use_threads=False)

    def read_row_groups(self, row_groups: Sequence[int], columns: Sequence[str] | None = None) -> pa.Table:
        return super().read_row_groups([*row_groups], columns=columns and [*columns], use_threads=False)

    def iter_batches(
        self, batch_size: int, row_groups: Sequence[int] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        yield from super().iter_batches(batch_size, row_groups, columns and [*columns], use_threads=False)


def refuse_large_pages(data: bytes, metadata: pq.FileMetaData) -> None:
    """Raises DatasetError for a file whose pages would take too much memory, by what each says of itself.

    A page of zstd is unpacked whole, into as much as its own header says, whatever the footer has: a few KB may become
    2 GiB.
    """
    try:
        for group in range(metadata.num_row_groups):
            row_group, total = metadata.row_group(group), 0
            for place in map(row_group.column, range(row_group.num_columns)):
                start = min(filter(None, (place.dictionary_page_offset, place.data_page_offset)))
                total += max(_page_sizes(data, start, start + place.total_compressed_size), default=0)
            if total > MAX_OPEN_BYTES:
                raise DatasetError(f"its pages have {total:,} bytes, more than {MAX_OPEN_BYTES:,}: it was edited")
    except (IndexError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError("it is damaged: a page's header cannot be read") from None


def _page_sizes(data: bytes, start: int, end: int) -> Iterator[int]:
    """The unpacked sizes of the pages of a column, in bytes."""
    while start < end:
        fields, start = _struct(data, start, 0)
        if fields.get(_PACKED, -1) < 0 or fields.get(_UNPACKED, -1) < 0:
            raise ValueError("a page without sizes")
        yield fields[_UNPACKED]
        start += fields[_PACKED]


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, int], int]:
    """The whole numbers of a struct in Thrift's compact protocol, by field, and where it ends.

    Raises IndexError and ValueError for what is none, or has what page headers have not.
    """
    numbers: dict[int, int] = {}
    field = 0
    while head := data[place]:
        kind, place = head & 15, place + 1
        field += head >> 4
        if not head >> 4:
            field, place = _number(data, place)
        if kind in _WHOLE_NUMBERS:
            numbers[field], place = _number(data, place)
        elif kind == _BINARY:
            length, place = _varint(data, place)
            place += length
        elif kind == _STRUCT and depth < _DEEPEST:
            _, place = _struct(data, place, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            raise ValueError(f"a field of kind {kind}")
    return numbers, place + 1


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A signed number, and where it ends."""
    number, place = _varint(data, place)
    return (number >> 1) ^ -(number & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[place]
        number, shift, place = number | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return number, place
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
