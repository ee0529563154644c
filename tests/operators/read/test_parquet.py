from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.parquet import ParquetFile
from manifests.schema import Reject
from operators.read import parquet
from operators.read.parquet import _row_group, as_name, as_number, as_text, in_footers, open_parquet, read_row

COLUMNS = ("image", "text", "number", "not there")


@pytest.fixture(autouse=True)
def _nothing_is_open() -> None:
    open_parquet.cache_clear()
    _row_group.cache_clear()


@pytest.mark.parametrize("at_once", [1, 3, 1_000])
@pytest.mark.parametrize("kept_bytes", [1, 20_000, 2**30])
@pytest.mark.parametrize("step", [1, -1, 7])
def test_any_row_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, kept_bytes: int, step: int
) -> None:
    rows = _write(tmp_path)
    monkeypatch.setattr(parquet, "_KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(parquet, "_BUFFERED_BYTES", 1_000)
    for place in range(0, step * 23, step):
        index = place % 23
        assert read_row(str(tmp_path), "a.parquet", index, COLUMNS, at_once) == rows[index]


def test_a_row_group_is_never_read_whole_and_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a column, Arrow cannot hold 2 GiB in one piece, which re-saved files have in one row group."""
    _write(tmp_path, row_group_size=23)
    read: list[int] = []
    iter_batches = ParquetFile.iter_batches

    def spy(file: ParquetFile, at_once: int, row_groups: list[int], columns: list[str]) -> object:
        for batch in iter_batches(file, at_once, row_groups=row_groups, columns=columns):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(ParquetFile, "iter_batches", spy)
    monkeypatch.delattr(ParquetFile, "read_row_group")
    for index in (0, 1, 9, 3, 22, 0):
        read_row(str(tmp_path), "a.parquet", index, COLUMNS, 7)
    assert read == [7, 7, 7, 2]


@pytest.mark.parametrize("order", [range(23), range(22, -1, -1)])
def test_what_lies_before_the_damage_is_read_whoever_asks_first(tmp_path: Path, order: range) -> None:
    rows = _write(tmp_path, row_group_size=23, data_page_size=2_000, compression="gzip")
    path = tmp_path / "a.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    end = column.data_page_offset + column.total_compressed_size
    data[end - 8_000 : end] = b"\xff" * 8_000
    path.write_bytes(data)
    read = []
    for index in order:
        with suppress(Reject):
            assert read_row(str(tmp_path), "a.parquet", index, COLUMNS, 2) == rows[index]
            read.append(index)
    assert sorted(read) == list(range(len(read))) and 8 <= len(read) <= 20 and len(read) % 2 == 0


def test_a_row_that_is_not_there_is_a_reject(tmp_path: Path) -> None:
    _write(tmp_path)
    with pytest.raises(Reject, match="fewer rows than when it was listed"):
        read_row(str(tmp_path), "a.parquet", 23, COLUMNS, 7)
    with pytest.raises(Reject, match="gone since it was listed"):
        read_row(str(tmp_path), "b.parquet", 0, COLUMNS, 7)


def test_a_link_to_nothing_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").symlink_to("../blobs/gone")  # as a hub cache has it whose blobs were cleaned up
    with pytest.raises(FileNotFoundError, match=r"^DATA: .*/a\.parquet .*a link to nothing; download it again"):
        list(in_footers(lambda file: file.num_row_groups, str(tmp_path), ["a.parquet"]))


def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    _write(tmp_path)

    def refuse(file: pq.ParquetFile) -> None:
        raise ValueError("it lacks the column x")

    with pytest.raises(ValueError, match=r"^DATA: .*/a\.parquet: it lacks the column x$"):
        list(in_footers(refuse, str(tmp_path), ["a.parquet"]))

    path = tmp_path / "a.parquet"
    start = pq.ParquetFile(path).metadata.row_group(0).column(2).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^DATA: .*/a\.parquet cannot be read \(.*\); download it again"):
        list(in_footers(lambda file: file.read(columns=["text"]), str(tmp_path), ["a.parquet"]))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((7, 7.0), (7.25, 7.25), (Decimal("6.50"), 6.5), ("6.5", 6.5), (" 7 ", 7.0), ("1e1", 10.0), (0, 0.0)),
        *((text, None) for text in ("nan", "inf", "", "6,5", "x")),
        *((value, None) for value in (None, True, float("nan"), float("inf"), b"7", [7.0], 10**400)),
    ],
)
def test_numbers(value: object, number: float | None) -> None:
    assert as_number(value) == number


@pytest.mark.parametrize(
    ("value", "name"),
    [(7, "7"), (7.0, "7"), (7.5, "7.5"), (Decimal("7.00"), "7"), ("007", "007"), (b"a", "a"), (None, ""),
     (10**20, f"{10**20}"), (float("nan"), ""), ("", ""), (1e22, f"{10**22}")],
)  # fmt: skip
def test_names(value: object, name: str) -> None:
    assert as_name(value) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\n b ", "a\n b "), (b"a", "a"), (None, ""), (" \n", ""), ("nan", ""), ("None", ""), ("nan bread", "nan bread"),
     (7, "")],
)  # fmt: skip
def test_texts(value: object, text: str) -> None:
    assert as_text(value) == text


def _write(folder: Path, **options: object) -> list[dict[str, object]]:
    """23 rows with 1,000 bytes each, in groups of 10. What is written, as dicts."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = [
        {"image": {"bytes": rng.bytes(1_000), "path": f"{index}.png"}, "text": f"row {index}", "number": index}
        for index in range(23)
    ]
    pq.write_table(
        pa.Table.from_pylist(rows),
        folder / "a.parquet",
        **{"row_group_size": 10, "use_dictionary": False, "write_batch_size": 1, **options},
    )
    return rows
