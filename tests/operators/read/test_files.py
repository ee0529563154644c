from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import fsspec
import pytest

from manifests.schema import Reject
from manifests.storage import Store
from operators.read.files import SourceFile, commonest_ending, ending, list_files, open_file, read_file, read_list
from tests.sources import write_files


def test_files_are_listed_by_path_with_size_and_time(tmp_path: Path) -> None:
    write_files(tmp_path, {"b/2.png": b"22", "b.png": b"1", "a/c/3": b"333", "a.b": b""})
    os.utime(tmp_path / "b.png", (5, 1_700_000_000))
    listed = list_files(str(tmp_path))
    assert [(file.path, file.bytes) for file in listed] == [("a.b", 0), ("a/c/3", 3), ("b.png", 1), ("b/2.png", 2)]
    assert listed[2] == SourceFile(path="b.png", bytes=1, modified_s=1_700_000_000)


def test_a_folder_without_files_is_empty_and_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty/inner").mkdir(parents=True)
    assert list_files(str(tmp_path / "empty")) == []
    (tmp_path / "file").touch()
    for name in ("absent", "file"):
        with pytest.raises(ValueError, match=rf"^DATA: .*/{name}( is a file: point DATA at the folder .*)?$"):
            list_files(str(tmp_path / name))


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    write_files(tmp_path / "elsewhere", {"1.png": b"1", "2.png": b"22"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/file.png").symlink_to(tmp_path / "elsewhere/2.png")
    listed = list_files(str(tmp_path / "data"))
    assert [(file.path, file.bytes) for file in listed] == [("file.png", 2), ("folder/1.png", 1), ("folder/2.png", 2)]
    assert read_file(str(tmp_path / "data"), "folder/2.png") == b"22"


def test_a_loop_of_folders_ends(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/1.png": b"1"})
    (tmp_path / "a/up").symlink_to(tmp_path)
    assert [file.path for file in list_files(str(tmp_path))] == ["a/1.png"]


def test_a_folder_with_two_names_is_listed_by_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order in which the file system names them: keys depend on the path."""
    write_files(tmp_path, {"b/1.png": b"1"})
    for name in ("a", "c"):
        (tmp_path / name).symlink_to(tmp_path / "b")
    assert [file.path for file in list_files(str(tmp_path))] == ["a/1.png"]
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: Any) -> None:
            self._entries = iter(sorted(scandir(path), key=lambda entry: entry.name, reverse=True))

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            return self._entries

        def __next__(self) -> os.DirEntry[str]:
            return next(self._entries)

        def __enter__(self) -> Reversed:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert [file.path for file in list_files(str(tmp_path))] == ["a/1.png"]


@pytest.mark.parametrize("target", ["nowhere.png", "itself.png"])
def test_a_link_to_nothing_or_to_itself_is_listed_and_rejected(tmp_path: Path, target: str) -> None:
    (tmp_path / "itself.png").symlink_to(tmp_path / target)
    (file,) = list_files(str(tmp_path))
    assert _reason(tmp_path, file.path) == "missing"


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"\xff" * 200 + b".png", b"d\xe9j\xe0/\xe9t\xe9 \\x41.png"])
def test_a_name_that_is_not_utf8_is_listed_spelled_out_and_read(tmp_path: Path, name: bytes) -> None:
    write_files(tmp_path, {os.fsdecode(name): b"1"})
    (file,) = list_files(str(tmp_path))
    assert file.path == name.decode("utf-8", "backslashreplace")
    file.path.encode()  # as a manifest needs it
    assert read_file(str(tmp_path), file.path) == b"1"
    (tmp_path / os.fsdecode(name)).unlink()
    assert _reason(tmp_path, file.path) == "missing"


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_listed_and_rejected(tmp_path: Path, kind: str, linked: bool) -> None:
    """Reading a pipe would wait for ever, reading /dev/zero would never end."""
    place = tmp_path / "elsewhere/x.png" if linked else tmp_path / "data/x.png"
    place.parent.mkdir()
    if kind == "a named pipe":
        os.mkfifo(place)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(place))
    else:
        place.symlink_to("/dev/zero")
    if linked:
        (tmp_path / "data").mkdir()
        (tmp_path / "data/x.png").symlink_to(place)
    (file,) = list_files(str(tmp_path / "data"))
    assert (file.path, file.bytes, file.stamp) == ("x.png", 0, "")
    with pytest.raises(Reject, match=kind) as caught:
        read_file(str(tmp_path / "data"), file.path)
    assert caught.value.reason == "not_a_file"
    with pytest.raises(Reject, match=rf"x\.png: it is {kind}, not a file"):
        open_file(str(tmp_path / "data"), file.path)


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    write_files(tmp_path, {"x.jpg/y.jpg": b"1"})
    (tmp_path / "empty.jpg").mkdir()
    assert [file.path for file in list_files(str(tmp_path))] == ["x.jpg/y.jpg"]


def test_a_file_that_is_removed_while_it_is_listed_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a.png": b"1", "b.png": b"1"})
    stat = os.stat

    def removing(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("a.png"):
            Path(path).unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", removing)
    assert [file.path for file in list_files(str(tmp_path))] == ["b.png"]


def test_a_file_of_which_nothing_can_be_said_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder that may be listed and not entered."""
    write_files(tmp_path, {"locked/a.png": b"1"})
    stat, lstat = os.stat, os.lstat

    def refusing(call: Any) -> Any:
        def refuse(path: Any, **options: Any) -> os.stat_result:
            if str(path).endswith("a.png"):
                raise PermissionError(13, "Permission denied", path)
            return cast(os.stat_result, call(path, **options))

        return refuse

    monkeypatch.setattr(os, "stat", refusing(stat))
    monkeypatch.setattr(os, "lstat", refusing(lstat))
    with pytest.raises(ValueError, match=r"^DATA: .*/locked/a\.png cannot be listed: Permission denied"):
        list_files(str(tmp_path))


@pytest.mark.parametrize("name", ["photo.jpg", "data.parquet"])
def test_data_that_is_a_file_is_refused_and_told_of(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, {name: b"1"})
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/one-file/{name}", b"1")
    try:
        for root in (str(tmp_path), "memory://one-file"):
            with pytest.raises(ValueError, match=rf"^DATA: .*/{name} is a file: point DATA at the folder"):
                list_files(f"{root}/{name}")
    finally:
        memory.rm("/one-file", recursive=True)


def test_a_file_is_not_read_if_it_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB beside the photos, sparse here."""
    with open(tmp_path / "photos.zip", "wb") as file:
        file.truncate(8 * 10**9)
    monkeypatch.setattr(Store, "read", _raiser(AssertionError("it was read")))
    with pytest.raises(Reject, match=r"photos\.zip: 8,000,000,000 bytes, more than 268,435,456") as caught:
        read_file(str(tmp_path), "photos.zip")
    assert caught.value.reason == "too_large"


def test_no_more_of_an_object_is_read_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its size was when it was listed."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/large-test/a.png", bytes(1_000))
    asked: list[int | None] = []
    cat_file = type(memory).cat_file

    def counted(self: Any, path: str, start: int | None = None, end: int | None = None, **options: Any) -> Any:
        asked.append(end)
        return cat_file(self, path, start=start, end=end, **options)

    monkeypatch.setattr(type(memory), "cat_file", counted)
    try:
        assert read_file("memory://large-test", "a.png", 1_000) == bytes(1_000)
        with pytest.raises(Reject) as caught:
            read_file("memory://large-test", "a.png", 999)
        assert (caught.value.reason, asked) == ("too_large", [1_001, 1_000])
    finally:
        memory.rm("/large-test", recursive=True)


def test_an_object_without_bytes_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 answers that a range of it cannot be satisfied."""
    memory = fsspec.filesystem("memory")
    memory.pipe({"/empty-test/a.png": b"", "/empty-test/b.png": b"1"})
    monkeypatch.setattr(type(memory), "cat_file", _raiser(OSError(22, "The requested range is not satisfiable")))
    try:
        assert read_file("memory://empty-test", "a.png") == b""
        with pytest.raises(OSError, match="not satisfiable"):
            read_file("memory://empty-test", "b.png")
    finally:
        memory.rm("/empty-test", recursive=True)


def test_a_file_that_is_being_written_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"a.png": b"1"})
    stat = os.stat

    def growing(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        if str(path).endswith("a.png"):
            with open(path, "ab") as file:
                file.write(b"1")
        return found

    monkeypatch.setattr(os, "stat", growing)
    with pytest.raises(OSError, match=r"/a\.png was written to while it was read"):
        read_file(str(tmp_path), "a.png")


def test_a_list_that_cannot_be_read_is_an_error_of_one_line(tmp_path: Path) -> None:
    """A plan is made of it, and has no rejects."""
    write_files(tmp_path, {"there.txt": b"1"})
    assert read_list(str(tmp_path), "there.txt") == b"1"
    os.mkfifo(tmp_path / "pipe.txt")
    for name, reason in (("pipe.txt", "not_a_file"), ("gone.txt", "missing")):
        with pytest.raises(ValueError, match=rf"^DATA: {tmp_path}/{name} cannot be read \({reason}\): "):
            read_list(str(tmp_path), name)


def test_a_name_that_looks_spelled_out_is_read_as_it_is(tmp_path: Path) -> None:
    write_files(tmp_path, {"caf\\xe9.png": b"backslash"})
    (file,) = list_files(str(tmp_path))
    assert read_file(str(tmp_path), file.path) == b"backslash"
    write_files(tmp_path, {os.fsdecode(b"caf\xe9.png"): b"byte"})
    with pytest.raises(ValueError, match=r"two files below .* would both be called caf\\xe9.png"):
        list_files(str(tmp_path))


HIDDEN = {
    ".DS_Store": b"1",
    "._a.png": b"1",
    ".ipynb_checkpoints/a-checkpoint.png": b"1",
    ".ipynb_checkpoints/b-checkpoint.png": b"1",
    "b/.Trash-0/x/y.png": b"1",
    "b/__MACOSX/b/._a.png": b"1",
    "b/@eaDir/a.png/SYNOPHOTO_THUMB_M.png": b"1",
    "b/Thumbs.db": b"1",
    "desktop.ini": b"1",
    "$RECYCLE.BIN/c.png": b"1",
}
"""Nine files and folders that are none of a source's."""


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_what_is_hidden_and_what_we_made_is_passed_over_and_counted(tmp_path: Path, where: str) -> None:
    shown = {"a.png": b"1", "b/a.png": b"1", "b/_a.png": b"1"}
    ours = {"out/derain/plan.parquet": b"1", "out/derain/shards/derain-000000.tar": b"1", "out/derain/.lock": b"1"}
    memory = fsspec.filesystem("memory")
    try:
        if where == "folder":
            root = str(write_files(tmp_path, HIDDEN | shown | ours))
        else:
            root = "memory://hidden-test"
            memory.pipe({f"/hidden-test/{path}": data for path, data in (HIDDEN | shown | ours).items()})
        listed = list_files(root)
        assert [file.path for file in listed] == sorted(shown)
        assert listed.passed_over == {"hidden files and folders": 9, "datasets of ours": 1}
    finally:
        if where == "bucket":
            memory.rm("/hidden-test", recursive=True)


def test_a_root_that_is_hidden_or_ours_itself_is_read(tmp_path: Path) -> None:
    write_files(tmp_path / ".photos", {"a.png": b"1", "plan.parquet": b"1"})
    assert [file.path for file in list_files(str(tmp_path / ".photos"))] == ["a.png", "plan.parquet"]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"a/1.png": b"1", "locked/2.png": b"2"})
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"/locked cannot be listed: Permission denied"):
        list_files(str(tmp_path))


def test_reading_what_a_retry_would_not_change_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"folder/file": b"1"})
    for path in ("gone", "folder", "folder/file/below", "a" * 300):
        assert _reason(tmp_path, path) == "missing"
    monkeypatch.setattr("manifests.storage.Store.read", _raiser(PermissionError(13, "Permission denied")))
    assert _reason(tmp_path, "folder/file") == "unreadable"


def test_a_failing_disk_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.storage.Store.read", _raiser(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        read_file(str(tmp_path), "file")


def test_a_bucket_is_listed_and_read_like_a_folder() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/files-test/b/2.png": b"22", "/files-test/a.png": b"1"})
    try:
        listed = list_files("memory://files-test")
        assert [(file.path, file.bytes) for file in listed] == [("a.png", 1), ("b/2.png", 2)]
        assert read_file("memory://files-test", "b/2.png") == b"22"
        with pytest.raises(Reject) as caught:
            read_file("memory://files-test", "c.png")
        assert caught.value.reason == "missing"
        with pytest.raises(ValueError, match="there is no folder"):
            list_files("memory://files-test/absent")
    finally:
        memory.rm("/files-test", recursive=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.png", "png"),
        ("a.PNG", "png"),
        ("a.b/c.d.JpEg", "jpg"),
        ("a.tiff", "tif"),
        ("a", ""),
        ("a.b/c", ""),
        (".png", ""),
        ("a.", ""),
        ("été 1.webp", "webp"),
    ],
)
def test_endings(path: str, expected: str) -> None:
    assert ending(path) == expected


def test_the_commonest_image_ending_decides_the_first_by_alphabet_among_equals() -> None:
    assert commonest_ending(["a.png", "b.JPG", "c.jpeg", "d.txt", "e.txt", "f.txt"]) == "jpg"
    assert commonest_ending(["a.webp", "b.png", "c.jpg"]) == "jpg"
    assert commonest_ending(["a.txt", "b"]) == "png"


def _reason(root: Path, path: str) -> str:
    with pytest.raises(Reject) as caught:
        read_file(str(root), path)
    assert path in caught.value.message
    return caught.value.reason


def _raiser(error: Exception) -> Any:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail
