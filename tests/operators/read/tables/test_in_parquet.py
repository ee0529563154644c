"""Rows of Parquet files: names of nested columns, types, and what is read at a time."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.schema import Reject
from operators.read.parquet import open_parquet
from operators.read.tables.in_parquet import InParquet, may_hold_images, refuse_no_images
from tests.readers import count_bytes

ROWS = [
    {"image": {"bytes": b"%d" % n * 50_000, "path": "p"}, "meta": {"a": {"b": n}}, "text": f"t{n}"} for n in range(4)
]


def table(root: Path) -> InParquet:
    pq.write_table(pa.Table.from_pylist(ROWS), root / "x.parquet", row_group_size=2, compression="none")
    open_parquet.cache_clear()
    return InParquet(root=str(root), path="x.parquet")


def test_names_are_those_of_fields_but_an_image_is_one(tmp_path: Path) -> None:
    found = table(tmp_path)
    assert found.names() == ["image", "meta.a.b", "text"]
    assert found.row(3, ["meta.a.b", "text"]) == {"meta": ROWS[3]["meta"], "text": "t3"}
    with pytest.raises(Reject):
        found.row(4, ["text"])


def test_a_plan_reads_texts_and_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = table(tmp_path)
    counts = count_bytes(monkeypatch)
    listed = list(found.rows(["image", "text"]))
    assert [(one.name, one.index, one.row) for one in listed] == [(f"#{n}", n, {"text": f"t{n}"}) for n in range(4)]
    assert counts["x.parquet"] < 160_000 < (tmp_path / "x.parquet").stat().st_size  # a footer is sought in 64 KiB


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        (pa.binary(), True),
        (pa.large_binary(), True),
        (pa.string(), True),
        (pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])), True),
        (pa.struct([("path", pa.string())]), True),
        (pa.dictionary(pa.int32(), pa.string()), True),
        (pa.null(), True),
        (pa.int64(), False),
        (pa.list_(pa.int64()), False),
        (pa.struct([("x", pa.binary())]), False),
    ],
)
def test_types_that_may_hold_images(kind: pa.DataType, holds: bool, tmp_path: Path) -> None:
    assert may_hold_images(kind) is holds
    pq.write_table(pa.table({"meta": pa.array([None], pa.struct([("image", kind)]))}), tmp_path / "x.parquet")
    open_parquet.cache_clear()
    if holds:
        refuse_no_images(str(tmp_path), "x.parquet", ["meta.image", "gone"])
    else:
        with pytest.raises(ValueError, match=r"its column meta\.image is .*, not images"):
            refuse_no_images(str(tmp_path), "x.parquet", ["meta.image"])
