"""WebDataset tars, as tarfile writes them and as strangers may."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from manifests.schema import Reject
from operators.read.tables.tars import InTar, _index
from tests.sources import jpeg


def table(root: Path, members: Sequence[tuple[str, bytes | tarfile.TarInfo]], cut: int = 0) -> InTar:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (root / "x.tar").write_bytes(buffer.getvalue()[: cut or None])
    _index.cache_clear()
    return InTar(root=str(root), path="x.tar")


def test_members_and_fields_are_columns(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        [
            ("a/1.input.jpg", jpeg(0)),
            ("a/1.Target.PNG", b"target"),
            ("a/1.txt", "words ü".encode()),
            ("a/1.json", json.dumps({"meta": {"x": 1}, "txt": "no"}).encode()),
            ("a/2.input.png", b"second"),
            ("__init__", b"no member of a sample"),
            ("a/2.json", b"{}"),
        ],
    )
    assert found.names() == ["input", "target", "txt", "meta.x"]
    listed = list(found.rows([]))
    assert [(one.name, one.index, one.row) for one in listed] == [("/a/1", 0, {}), ("/a/2", 1, {})]
    row = found.row(0, ["input", "input.jpg", "target", "txt", "meta.x"])
    assert row["input"] == row["input.jpg"] == jpeg(0) and row["target"] == b"target"
    assert row["txt"] == "words ü".encode() and row["meta"] == {"x": 1}
    assert found.row(1, ["input", "target"]) == {"input": b"second"}
    assert "input.jpg" not in found.row(1, ["input.jpg"])


def test_links_pipes_and_folders_are_nothing_and_a_key_that_comes_again_is_told(tmp_path: Path) -> None:
    link, pipe = tarfile.TarInfo("1.target.png"), tarfile.TarInfo("1.pipe")
    link.type, link.linkname, pipe.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.FIFOTYPE
    found = table(
        tmp_path, [("1.input.png", b"x"), ("", link), ("", pipe), ("2.input.png", b"y"), ("1.input.png", b"z")]
    )
    assert [one.name for one in found.rows([])] == ["/1", "/2", "/1#2"]
    assert found.row(0, ["input", "target", "pipe"]) == {"input": b"x"}
    assert found.row(2, ["input"]) == {"input": b"z"}


def test_what_is_cut_off_or_broken_costs_its_own_rows(tmp_path: Path) -> None:
    members: list[tuple[str, bytes | tarfile.TarInfo]] = [(f"{n}.input.png", b"%d" % n * 2_000) for n in range(3)]
    found = table(tmp_path, members, cut=512 + 2_048 + 512 + 1_000)
    assert [one.name for one in found.rows([])] == ["/0", "/1"]
    assert found.row(0, ["input"]) == {"input": b"0" * 2_000}
    with pytest.raises(Reject, match=r"x\.tar is cut off inside 1\.input\.png"):
        found.row(1, ["input"])
    for broken in (b"{", b"[]", b"[" * 100_000):
        with pytest.raises(Reject, match=r"x\.tar/1\.json is no JSON"):
            table(tmp_path, [("1.json", broken)]).row(0, ["a"])
    (tmp_path / "x.tar").write_bytes(b"\x1f\x8b" + bytes(2_000))
    _index.cache_clear()
    with pytest.raises(ValueError, match=r"x\.tar is no tar"):
        InTar(root=str(tmp_path), path="x.tar").names()
    with pytest.raises(Reject):
        InTar(root=str(tmp_path), path="gone.tar").row(0, [])
