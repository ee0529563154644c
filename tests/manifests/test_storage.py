"""Files appear whole or not at all, on a disk and in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from manifests.storage import Store


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
