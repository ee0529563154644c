from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests.schema import Reject
from operators.read.tables import json_list
from operators.read.tables.json_list import JsonList, is_json_list
from tests.sources import write_files

_ROWS: list[dict[str, Any]] = [
    {"image": ["a.png", "b.png"], "talk": "größer – “7”]", "n": 1},
    {"image": [], "talk": '\\"}, {"', "more": {"deep": [[1, 2], None]}},
    {},
]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("at_once", [1, 7, 2**20])
def test_rows_are_those_of_the_list_and_each_is_read_again_by_itself(
    indent: int | None, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_list, "_AT_ONCE", at_once)
    monkeypatch.setattr(json_list, "_OF_A_ROW", max(at_once, 8))
    text = f"\ufeff {json.dumps(_ROWS, ensure_ascii=False, indent=indent)}\n"
    table = _table(tmp_path, text.encode())
    rows = list(table.rows(()))
    assert [(one.name, one.row) for one in rows] == [(f"#{place}", row) for place, row in enumerate(_ROWS)]
    assert [table.row(one.index, ()) for one in rows] == _ROWS
    whole = text.encode()
    for one, row in zip(rows, _ROWS, strict=True):  # the offset is that of the object's first byte
        assert json.JSONDecoder().raw_decode(whole[one.index :].decode())[0] == row
    assert list(table.names()) == ["image", "talk", "n", "more.deep"]
    assert is_json_list(table.root, table.path)


def test_what_is_no_object_is_a_row_that_says_so_when_it_is_read(tmp_path: Path) -> None:
    table = _table(tmp_path, b'[1, "two", {"a": 3}, 4]')
    rows = list(table.rows(()))
    assert [one.row for one in rows] == [{}, {}, {"a": 3}, {}]
    with pytest.raises(Reject, match="no JSON object, but int") as caught:
        table.row(rows[0].index, ())
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a": 1}', "no JSON list"),
        (b"", "no JSON list"),
        (b'[{"a": 1}, {"a"', "cut off"),
        (b'[{"a": 1}', "cut off"),
        (b"[12", "cut off"),
        (b'[{"a": 1} x]', "no JSON"),
        (b'[{"a": "\xff"}]', "0xff"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"[" * 100_000, "recursion"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_list_of_rows_is_refused_in_a_line(data: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        list(_table(tmp_path, data).rows(()))
    assert "\n" not in str(caught.value) and "list.json" in str(caught.value)


def test_an_object_that_never_ends_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_list, "_AT_ONCE", 100)
    monkeypatch.setattr(json_list, "MOST_BYTES", 1_000)
    table = _table(tmp_path, b'[{"a": "' + b"x" * 100_000)
    with pytest.raises(ValueError, match="at byte 1 it is cut off"):
        list(table.rows(()))


def test_a_row_that_is_not_there_any_more_is_a_reject(tmp_path: Path) -> None:
    table = _table(tmp_path, b'[{"a": 1}]')
    with pytest.raises(Reject) as caught:
        table.row(9, ())  # where the list ends
    assert caught.value.reason == "missing"
    (tmp_path / "list.json").unlink()
    with pytest.raises(Reject) as caught:
        table.row(1, ())
    assert caught.value.reason == "missing"


def _table(root: Path, data: bytes) -> JsonList:
    write_files(root, {"list.json": data})
    return JsonList(root=str(root), path="list.json")
