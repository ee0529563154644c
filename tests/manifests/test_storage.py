"""Files appear whole or not at all, on a disk and in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from manifests.storage import Store, absolute, expanded, is_hidden, spelled_out


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "disk":
        yield Store(str(tmp_path / "root"))
    else:
        yield Store("memory://storage/root")
        if (fs := fsspec.filesystem("memory")).exists("/storage"):
            fs.rm("/storage", recursive=True)


def test_written_is_read(store: Store) -> None:
    store.write_bytes("shards/a.tar", b"0123456789")
    assert store.exists("shards/a.tar")
    assert store.read("shards/a.tar") == b"0123456789"
    with store.open("shards/a.tar") as file:
        assert file.read() == b"0123456789"


def test_a_range_is_read(store: Store) -> None:
    store.write_bytes("a", b"0123456789")
    assert store.read("a", 3, 4) == b"3456"
    assert store.read("a", 3) == b"3456789"
    assert store.read("a", 8, 100) == b"89"
    assert store.read("a", 0, 0) == b""


def test_what_is_not_there(store: Store) -> None:
    assert not store.exists("a")
    assert store.names("shards") == []
    with pytest.raises(FileNotFoundError):
        store.read("a")
    with pytest.raises(FileNotFoundError):
        store.open("a")


def test_nothing_appears_before_the_block_ends(store: Store) -> None:
    with store.write("shards/a.tar") as file:
        file.write(b"half")
        assert not store.exists("shards/a.tar")
        assert store.names("shards") == []
    assert store.read("shards/a.tar") == b"half"


def test_an_exception_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.write("shards/a.tar") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.names("shards") == []
    assert store.temporary_names("shards") == []


def test_an_exception_leaves_what_was_there(store: Store) -> None:
    store.write_bytes("a", b"old")

    def fail() -> None:
        with store.write("a") as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.read("a") == b"old"


def test_written_again(store: Store) -> None:
    store.write_bytes("a", b"a longer one")
    store.write_bytes("a", b"new")
    assert store.read("a") == b"new"


def test_two_writers_of_one_file_do_not_meet(store: Store) -> None:
    """A retry may start while the first attempt still writes: the last to end is whole."""
    with store.write("a") as first:
        first.write(b"fir")
        with store.write("a") as second:
            second.write(b"second")
        first.write(b"st")
    assert store.read("a") == b"first"


def test_names_are_sorted_and_hide_temporary_files(store: Store) -> None:
    for name in ("b.tar", "a.tar", ".b.tar.0123.tmp"):
        store.write_bytes(f"shards/{name}", b"")
    assert store.names("shards") == ["a.tar", "b.tar"]
    assert store.temporary_names("shards") == [".b.tar.0123.tmp"]
    assert store.names("") == ["shards"]


@pytest.mark.parametrize("folder", ["", "shards"])
def test_remove_temporary(store: Store, folder: str) -> None:
    for name in (".b.0123.tmp", "a"):
        store.write_bytes(f"{folder}/{name}".lstrip("/"), b"")
    store.remove_temporary(folder)
    assert store.temporary_names(folder) == []
    assert store.names(folder) == ["a"]


def test_names_written_by_another_process_are_seen(tmp_path: Path) -> None:
    """Listings are not cached, by `Store` or by fsspec."""
    store, other = Store(str(tmp_path)), Store(str(tmp_path))
    assert store.names("shards") == []
    other.write_bytes("shards/a.tar", b"")
    assert store.names("shards") == ["a.tar"]


def test_a_url_may_end_in_a_slash(tmp_path: Path) -> None:
    Store(f"{tmp_path}/").write_bytes("a", b"1")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert Store(f"file://{tmp_path}").read("a") == b"1"


def test_a_file_is_created_where_there_is_none(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert store.read("a") == b"first"
    store.remove("a")
    assert store.create("a", b"third")
    assert store.read("a") == b"third"


@pytest.mark.parametrize("name", ["a::b", "::", "a::b::c", "s3:b", "a:b", "sql[*]?", "50%"])
def test_what_is_no_url_is_a_plain_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec takes a::b for two file systems, and wrote into a."""
    monkeypatch.chdir(tmp_path)
    for place in (name, str(tmp_path / name)):
        Store(place).write_bytes("x/y", b"1")
        assert Store(place).read("x/y") == b"1" and Store(place).names("x") == ["y"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "x/y").read_bytes() == b"1"


def test_a_chain_of_file_systems_is_refused() -> None:
    for url in ("memory://a::b", "simplecache::memory://a"):
        with pytest.raises(ValueError, match=f"^{url}: '::' chains file systems"):
            Store(url)


def test_a_home_folder_is_what_a_tilde_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Store("~/out").write_bytes("x", b"1")
    assert (tmp_path / "out/x").read_bytes() == b"1"
    assert expanded("~/out") == f"{tmp_path}/out" and expanded("~") == str(tmp_path)
    assert absolute("~/out/../out") == f"{tmp_path}/out"
    for same in ("a~/b", "./~", "s3://bucket/~/x", "hub"):
        assert expanded(same) == same


def test_what_is_no_path_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match="loop' is no path: Symlink loop"):
        absolute(str(tmp_path / "loop"))
    with pytest.raises(ValueError, match="is no path: embedded null byte"):
        absolute("a\0b")


def test_names_that_are_hidden() -> None:
    hidden = [".a", "._a.jpg", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "Thumbs.db", "THUMBS.DB", "$RECYCLE.BIN"]
    assert all(map(is_hidden, hidden))
    assert not any(map(is_hidden, ["a.jpg", "_a.jpg", "a.b", "thumbs", "eaDir"]))


def test_bytes_that_are_not_utf8_are_spelled_out() -> None:
    assert spelled_out("caf\udce9.png") == "caf\\xe9.png" and spelled_out("\xe9.png") == "\xe9.png"
