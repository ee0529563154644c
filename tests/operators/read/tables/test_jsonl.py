"""JSON Lines, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests.schema import Reject
from operators.read.tables.jsonl import Jsonl

ROWS = [{"a": 1, "b": {"c": "x"}}, {"a": 2, "d": None}]


def table(root: Path, data: bytes) -> Jsonl:
    (root / "x.jsonl").write_bytes(data)
    return Jsonl(root=str(root), path="x.jsonl")


def test_rows_are_read_again_by_their_places(tmp_path: Path) -> None:
    data = b"\n".join(json.dumps(row).encode() for row in ROWS)
    found = table(tmp_path, b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n  \r\n"))
    assert found.names() == ["a", "b.c", "d"]
    listed = list(found.rows([]))
    assert [(one.name, one.row) for one in listed] == [("#0", ROWS[0]), ("#1", ROWS[1])]
    assert [found.row(one.index, []) for one in listed] == ROWS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": ', "is no JSON"),
        (b"[1]", "is no JSON object, but list"),
        (b"7", "is no JSON object, but int"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is no JSON"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "is no JSON"),
    ],
    ids=["cut", "list", "number", "not UTF-8", "deep", "long number"],
)
def test_a_broken_line_costs_its_own_row(line: bytes, said: str, tmp_path: Path) -> None:
    found = table(tmp_path, b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    listed = list(found.rows([]))
    assert [one.row for one in listed] == [{"a": 1}, {}, {"a": 3}]
    with pytest.raises(Reject, match=said) as rejected:
        found.row(listed[1].index, [])
    assert rejected.value.reason == "damaged" and "x.jsonl: the line at byte 9" in rejected.value.message


def test_a_list_is_refused_and_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    listing = table(tmp_path, json.dumps(ROWS).encode())
    for read in (listing.names, lambda: list(listing.rows([]))):
        with pytest.raises(ValueError, match=r"one JSON list, not JSON Lines: give it a name that ends in \.json"):
            read()
    with pytest.raises(Reject) as rejected:
        Jsonl(root=str(tmp_path), path="gone.jsonl").row(0, [])
    assert rejected.value.reason == "missing"
    assert list(table(tmp_path, b"").rows([])) == []
