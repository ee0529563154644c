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
