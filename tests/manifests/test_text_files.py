"""Files of text in any encoding, and what is none: one line each, or the text."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from manifests import text_files
from manifests.text_files import file_to_write, read_text, read_toml

TEXT = "a = 'Zürich, 東京'\n"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for data in (TEXT.encode(), b"\xef\xbb\xbf" + TEXT.encode()):
        (tmp_path / "x").write_bytes(data)
        assert read_text(tmp_path / "x") == TEXT
        assert read_toml(str(tmp_path / "x")) == {"a": "Zürich, 東京"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift-jis", "gb18030"])
def test_another_encoding_is_named_with_the_way_out(encoding: str, tmp_path: Path) -> None:
    text = "a = 'Zürich'" if encoding in ("latin-1", "cp1252") else "a = '東京'"
    (tmp_path / "x.toml").write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=r"x\.toml is (not in UTF-8 .*save it as UTF-8|no TOML: )") as caught:
        read_toml(tmp_path / "x.toml")
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name, said in {
        "pipe": "is no file",
        "folder": "is no file",
        "/dev/zero": "is no file",
        "none": "cannot be read: No such file",
        "circle": "cannot be read: Too many levels",
        "x" * 300: "cannot be read: File name too long",
    }.items():
        with pytest.raises(ValueError, match=said):
            read_text(tmp_path / name)
    monkeypatch.setattr(text_files, "MOST_BYTES", 3)
    (tmp_path / "large").write_bytes(b"1234")
    with pytest.raises(ValueError, match="large has 4 bytes"):
        read_text(tmp_path / "large")


@pytest.mark.parametrize(
    "text",
    ["a = ", "a = " + "[" * 100_000, "a = " + "{a = " * 100_000, "a = " + "9" * 9_000, "\0", "x" * 10**6, "a=1\na=2"],
)
def test_what_is_no_toml_is_one_short_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(ValueError, match=r"x\.toml is no TOML: ") as caught:
        read_toml(tmp_path / "x.toml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_file_to_write_is_refused_before_the_work_and_not_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file_to_write("x.json") == Path("x.json") and file_to_write("~/x.json") == tmp_path / "x.json"
    for text, said in {"nowhere/x.json": "there is no folder nowhere", ".": "is a folder", "-": "name one"}.items():
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            file_to_write(text)
