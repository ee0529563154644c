"""What tests of readers share: reading all of a fixture, and counting what is read of each file."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from manifests.schema import Item, Pair, Reject
from manifests.storage import Store
from operators.base import Reader
from operators.read.files import list_files
from operators.read.parquet import _row_group, open_parquet
from tests.fixtures import FIXTURES, Written


def located(name: str, root: Path) -> tuple[Reader, Written]:
    """The reader of a layout, bound to its fixture, and what it is to find there."""
    source, write = FIXTURES[name]
    written = write(root)
    reader = source.reader.located(str(root), list_files(str(root)))
    assert reader
    return reader, written


def read_all(reader: Reader, task: str = "task") -> tuple[list[Pair], list[tuple[Item, Reject]]]:
    """All pairs and rejects of a located reader."""
    pairs, rejects = [], []
    for item in reader.items(reader.listing()):
        try:
            pairs.append(reader.read(item, task))
        except Reject as reject:
            rejects.append((item, reject))
    return pairs, rejects


def images(pair: Pair) -> dict[str, bytes]:
    """Bytes by role."""
    return {image.role: image.data for image in pair.images}


def count_bytes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the bytes read through a local Store from now on, by file name. What is open already is forgotten."""
    counts: Counter[str] = Counter()
    open_file = Store.open

    class Counting(io.RawIOBase):
        def __init__(self, name: str, file: BinaryIO) -> None:
            self.name, self.file = name, file

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.file.tell()

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.file.seek(offset, whence)

        def read(self, size: int = -1) -> bytes:
            data = self.file.read(size)
            counts[self.name] += len(data)
            return data

        def readinto(self, buffer: Any) -> int:
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

    def counting_open(store: Store, name: str) -> BinaryIO:
        return cast(BinaryIO, Counting(name, open_file(store, name)))

    open_parquet.cache_clear()
    _row_group.cache_clear()
    monkeypatch.setattr(Store, "open", counting_open)
    return counts
