"""Separated values, as Python's csv module and spreadsheets write them, whole and broken."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from manifests.schema import Reject
from operators.read.tables.separated import Separated

ROWS = [
    {"a": "plain", "b": "x"},
    {"a": 'quotes " and, commas; and\ttabs', "b": ""},
    {"a": "lines\r\nof\n\nseveral", "b": "ü"},
    {"a": "", "b": "last"},
]


def table(root: Path, data: bytes, name: str = "x.csv") -> Separated:
    (root / name).write_bytes(data)
    return Separated(root=str(root), path=name)


@pytest.mark.parametrize("dialect", ["excel", "excel-tab", "unix"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_the_csv_module_writes_is_read_by_places(separator: str, dialect: str, tmp_path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["a", "b"], dialect=dialect, delimiter=separator)
    writer.writeheader()
    writer.writerows(ROWS)
    for mark in (b"", b"\xef\xbb\xbf"):
        found = table(tmp_path, mark + text.getvalue().encode(), "x.tsv" if separator == "\t" else "x.csv")
        assert found.names() == ["a", "b"]
        listed = list(found.rows([]))
        assert [(one.name, one.row) for one in listed] == [(f"#{number}", row) for number, row in enumerate(ROWS)]
        assert [found.row(one.index, []) for one in listed] == ROWS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"only one", "has 1 values, and the header 2"),
        (b"a,b,c", "has 3 values, and the header 2"),
        (b'"not closed,b', "cannot be read"),
        (b'"closed"early,b', "cannot be read"),
        (b"\xff,b", "not UTF-8"),
        (b'"' + b"x" * 200_000 + b'",b', "cannot be read"),
    ],
)
def test_a_broken_row_ends_with_its_line(line: bytes, said: str, tmp_path: Path) -> None:
    found = table(tmp_path, b"a,b\n1,2\n" + line + b"\n3,4\n5,6\n")
    listed = list(found.rows([]))
    assert [one.row for one in listed] == [{"a": "1", "b": "2"}, {}, {"a": "3", "b": "4"}, {"a": "5", "b": "6"}]
    with pytest.raises(Reject, match=said) as rejected:
        found.row(listed[1].index, [])
    assert rejected.value.reason == "damaged"
    assert found.row(listed[2].index, []) == {"a": "3", "b": "4"}


def test_a_header_must_name_each_column_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.csv has two columns a"):
        table(tmp_path, b"a,b,a\n1,2,3\n").names()
    index = table(tmp_path, b",a\n0,x\n")  # as pandas writes one
    assert index.names() == ["a"] and [one.row for one in index.rows([])] == [{"a": "x"}]
    with pytest.raises(ValueError, match="UTF-16"):
        table(tmp_path, "a,b\n".encode("utf-16")).names()
    empty = table(tmp_path, b"")
    assert empty.names() == [] and list(empty.rows([])) == []


def test_spaces_behind_separators_and_around_names_are_nobodys(tmp_path: Path) -> None:
    """As a person writes them: RFC 4180 has them in the values, of which no column and no path would be found."""
    found = table(tmp_path, b'a, b ,c\n1, "x, y", 3\n')
    assert found.names() == ["a", "b", "c"]
    assert [one.row for one in found.rows([])] == [{"a": "1", "b": "x, y", "c": "3"}]
    with pytest.raises(ValueError, match="two columns a"):
        table(tmp_path, b"a, a\n1,2\n").names()
