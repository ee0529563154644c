"""Lines of text files by their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.schema import Reject
from operators.read.tables import lines as module
from operators.read.tables.lines import as_text, lines, refuse_other_encoding


def test_lines_are_those_of_the_file_with_their_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\xef\xbb\xbffirst\r\n\nthird \xc3\xbc\n" + b"x" * 50 + b"\nlast"
    (tmp_path / "x").write_bytes(data)
    for at_once in (1, 7, 2**20):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        found = list(lines(str(tmp_path), "x"))
        assert b"".join(line for _, line in found) == data[3:]
        assert [line for _, line in found] == data[3:].splitlines(keepends=True)
        for offset, line in found[1:]:
            assert data[offset : offset + len(line)] == line
            assert next(lines(str(tmp_path), "x", offset, one_row=True)) == (offset, line)
    assert list(lines(str(tmp_path), "x", len(data))) == []


def test_a_long_line_is_cut_and_those_behind_it_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    (tmp_path / "x").write_bytes(b"a\n" + b"b" * 1_000 + b"\nc\n" + b"d" * 1_000)
    for at_once in (16, 64, 2**20):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        found = list(lines(str(tmp_path), "x"))
        assert [offset for offset, _ in found] == [0, 2, 1_003, 1_005]
        assert [line[:1] for _, line in found] == [b"a", b"b", b"c", b"d"]
        with pytest.raises(Reject, match="more than 100 bytes"):
            as_text(found[1][1], "x")


def test_what_is_no_utf_8_is_refused_or_rejected(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("a,b\n".encode("utf-16"))
    with pytest.raises(ValueError, match="x is UTF-16, not text in UTF-8"):
        refuse_other_encoding(str(tmp_path), "x")
    (tmp_path / "x").write_bytes(b"")
    refuse_other_encoding(str(tmp_path), "x")
    with pytest.raises(Reject, match="x: not UTF-8 at its byte 1"):
        as_text(b"a\xff", "x")
