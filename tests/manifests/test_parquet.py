"""No thread of Arrow's touches what is Python's: one that does so while the interpreter ends aborts the process."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.parquet import ParquetFile

HOME = Path(__file__).parents[2]
COLUMNS = [f"c{number}" for number in range(8)]


def _parquet() -> bytes:
    numbers = np.random.default_rng(0).random(3_000)
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict.fromkeys(COLUMNS, numbers)), buffer, row_group_size=1_000)
    return buffer.getvalue()


class _Spied(io.BytesIO):
    """A file that knows which threads have read it, or have let go of what they read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.threads = threads = set[int]()

        class Piece(bytes):
            def __del__(self) -> None:
                threads.add(threading.get_ident())

        self._piece = Piece

    def read(self, size: int | None = -1) -> bytes:
        self.threads.add(threading.get_ident())
        return self._piece(super().read(size))


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: file.read(["c1", "c2"]),
        lambda file: [file.read_row_group(group) for group in range(3)],
        lambda file: file.read_row_groups([0, 2], ["c1"]),
        lambda file: list(file.iter_batches(100, [1], ["c1", "c7"])),
    ],
)
def test_the_thread_that_asks_reads_and_no_other(read: Callable[[Any], object]) -> None:
    spied, by_default = _Spied(_parquet()), _Spied(_parquet())
    read(ParquetFile(spied))
    assert spied.threads == {threading.get_ident()}
    read(pq.ParquetFile(by_default))
    assert len(by_default.threads) > 1  # or it need not be our own


def test_what_is_read_is_what_pyarrow_reads() -> None:
    data = _parquet()
    ours, theirs = ParquetFile(io.BytesIO(data)), pq.ParquetFile(io.BytesIO(data))
    assert ours.read(("c3", "c1")).equals(theirs.read(["c3", "c1"]))
    assert ours.read_row_group(1).equals(theirs.read_row_group(1))
    assert ours.read_row_groups([2, 0]).equals(theirs.read_row_groups([2, 0]))
    assert list(ours.iter_batches(300, [1])) == list(theirs.iter_batches(300, [1]))


def test_checksums_are_checked_if_asked_for() -> None:
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({"x": list(range(1_000))}), buffer, write_page_checksum=True, compression="none", use_dictionary=False
    )
    data = bytearray(buffer.getvalue())
    data[4_000] ^= 1
    ParquetFile(io.BytesIO(data)).read()
    with pytest.raises(OSError, match="CRC checksum"):
        ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()


_ENDING = """
import io, sys, threading, time
from manifests.parquet import ParquetFile

main, late = threading.get_ident(), threading.Event()

class File(io.BytesIO):
    def __del__(self):
        if threading.get_ident() != main and not late.is_set():
            late.set()
            time.sleep(0.1)

class Ending:  # let go of when the interpreter is ending, which takes longer than the thread waits
    def __del__(self, sleep=time.sleep):
        sleep(0.4)

data = open(sys.argv[1], "rb").read()
sys.modules["ending"] = Ending()
for _ in range(300):
    ParquetFile(File(data)).read()
    if late.is_set():
        break
"""


def test_a_process_that_has_read_ends_with_status_0(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(_parquet())
    done = subprocess.run(
        [sys.executable, "-c", _ENDING, str(tmp_path / "a.parquet")], cwd=HOME, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_of_ours_is_read_otherwise() -> None:
    """A path that Arrow opens itself is no Python file, and may be read as it likes."""
    folders = ("manifests", "operators", "pipelines", "train", "infra")
    files = [path for folder in folders for path in (HOME / folder).rglob("*.py")]
    found = {
        str(path.relative_to(HOME))
        for path in files
        if re.search(r"pq\.(ParquetFile\(\w|read_table\()|\.dataset\(", path.read_text())
    }
    assert found == set()
