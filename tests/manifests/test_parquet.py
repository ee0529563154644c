"""No thread of Arrow's touches what is Python's: one that does so while the interpreter ends aborts the process.

And no page takes more memory than a file of ours needs.
"""

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

from manifests.dataset import Dataset
from manifests.parquet import ParquetFile, _page_sizes, refuse_large_pages
from manifests.schema import DatasetError
from manifests.verify.dataset import verify
from tests.fuzz.seeds import lying
from tests.manifests.make import make_dataset

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


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_the_sizes_of_pages_add_up_to_what_arrow_writes_in_the_footer(version: str, dictionary: bool) -> None:
    """A footer's total has the pages' headers too, which are some tens of bytes each."""
    words = pa.array([f"word {number % 50}" * 9 for number in range(3_000)])
    table = pa.table({"words": words, "lists": [[number] * 3 for number in range(3_000)]})
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=3_000,
        write_batch_size=100,
        data_page_size=2_000,
        data_page_version=version,
        use_dictionary=dictionary,
        compression="zstd",
        write_page_checksum=True,
    )
    data, metadata = buffer.getvalue(), pq.read_metadata(buffer)
    for column in range(2):
        place = metadata.row_group(0).column(column)
        start = min(filter(None, (place.dictionary_page_offset, place.data_page_offset)))
        sizes = [*_page_sizes(data, start, start + place.total_compressed_size)]
        assert len(sizes) > 1
        assert 10 * len(sizes) < place.total_uncompressed_size - sum(sizes) < 200 * len(sizes)
    refuse_large_pages(data, metadata)


def test_pages_that_unpack_to_too_much_are_refused_before(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": ["x" * 2**21]}), buffer, compression="zstd", use_dictionary=False)
    data = buffer.getvalue()
    assert len(data) < 2_000
    refuse_large_pages(data, pq.read_metadata(buffer))
    monkeypatch.setattr("manifests.parquet.MAX_OPEN_BYTES", 2**20)
    with pytest.raises(DatasetError, match=r"its pages have 2,097,1\d\d bytes, more than 1,048,576"):
        refuse_large_pages(data, pq.read_metadata(buffer))


def test_what_a_page_says_of_itself_counts_whatever_the_footer_has(tmp_path: Path) -> None:
    root = tmp_path / "derain"
    make_dataset(str(root), units=1, pairs=2)
    path = root / "manifest/derain-000000.parquet"
    path.write_bytes(lying(path.read_bytes(), 2**31 - 1))
    (root / "dataset.json").unlink()
    [*_, finding] = [one for one in verify(str(root)) if one.file == str(path)]
    assert finding.message.startswith("its pages have ")
    with pytest.raises(DatasetError, match="its pages have"):
        next(Dataset(str(root)).pairs())


@pytest.mark.parametrize("header", [b"", b"\x15", b"\x15" + b"\xff" * 20, b"\x1b\x00", b"\x1c" * 9, bytes(9)])
def test_a_header_that_is_none(header: bytes) -> None:
    data = _parquet()
    metadata = pq.read_metadata(io.BytesIO(data))
    place = metadata.row_group(0).column(0)
    start = place.dictionary_page_offset or place.data_page_offset
    with pytest.raises(DatasetError, match="a page's header cannot be read"):
        refuse_large_pages(data[:start] + header, metadata)
