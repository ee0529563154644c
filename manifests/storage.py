"""Where a dataset directory lives: a local folder or any fsspec URL, with writes that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from manifests.remote import connect

TEMPORARY_SUFFIX = ".tmp"

_SIGNS = ("size", "ino", "mtime", "ETag", "etag", "LastModified", "updated")
"""What file systems say of a file that is another for another file: each says some of it."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_LEFT_BY_SYSTEMS = frozenset(
    [
        *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found"),
        *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    ]
)
"""What NAS boxes, Windows and archives made by macOS leave beside photos: thumbnails, waste, copies. In lower case."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of a source's: hidden, as .ipynb_checkpoints and the ._* files of
    macOS are, or left there by a system."""
    return name.startswith(".") or name.casefold() in _LEFT_BY_SYSTEMS


def expanded(place: str) -> str:
    """A path or URL as users write it, with `~` and `~name` as the home folders that they stand for.

    A shell expands them only at the beginning of a word: not in OUT=~/x, in quotes, in a recipe or in Python.
    """
    return place if "://" in place else os.path.expanduser(place)


def spelled_out(name: str) -> str:
    """A file's name as text that can be printed and stored: bytes that are not UTF-8 are spelled out, as \\xe9."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def absolute(place: str) -> str:
    """A path or URL as users write it, as one that means the same place in every process of this machine.

    Raises ValueError for what is no path: a link to itself, or one with a zero byte.
    """
    place = expanded(place)
    if "://" in place:
        return place.rstrip("/")
    try:
        return str(Path(place).resolve())
    except (RuntimeError, ValueError) as error:  # the former of a link
        raise ValueError(f"{place!r} is no path: {error}") from error


class Store:
    """Files below one root, named by relative paths with forward slashes.

    What is no URL is a path, whatever is in its name: `a::b`, which fsspec takes for two file systems, is one folder.
    A URL that chains file systems is refused with a ValueError.

    Raises FileNotFoundError for what is not there and OSError for what the file system refuses, whatever library is
    behind it (manifests/remote.py), and locally for what is no regular file: to open a pipe waits for ever. A `sealed`
    store reads no link that leads out of its root: who wrote its files may be a stranger, and what lies elsewhere on
    this machine is not theirs to show.
    """

    def __init__(self, url: str, *, sealed: bool = False) -> None:
        self._url = url
        self._sealed = sealed
        if "://" not in url:
            self._fs, root = fsspec.filesystem("file"), os.path.abspath(expanded(url))
        elif "::" in url:
            raise ValueError(f"{url}: '::' chains file systems, which nothing here reads or writes; give a single URL")
        else:
            self._fs, root = connect(url)
        self._process = os.getpid()
        self.root = root.rstrip("/")
        self.is_local = isinstance(self._fs, LocalFileSystem)

    @property
    def fs(self) -> Any:
        """The fsspec file system. A forked process gets its own: connections do not survive a fork."""
        if self._process != os.getpid() and not self.is_local:
            self._fs, _ = connect(self._url)
            self._process = os.getpid()
        return self._fs

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def names(self, folder: str) -> list[str]:
        """Sorted names in a folder, temporary files left out; [] if there is no such folder."""
        return [name for name in self._all_names(folder) if not name.endswith(TEMPORARY_SUFFIX)]

    def temporary_names(self, folder: str) -> list[str]:
        """Sorted names of what is being written in a folder, or was when its process was killed."""
        return [name for name in self._all_names(folder) if name.endswith(TEMPORARY_SUFFIX)]

    def marks(self, folder: str) -> dict[str, tuple[Any, ...]]:
        """By name what tells each file in a folder from another one that is put in its place: size and time, the inode
        of a local one, the entity tag of an object. {} if there is no such folder; no file is opened."""
        self.fs.invalidate_cache(self.path(folder))
        try:
            entries = self.fs.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {
            entry["name"].rstrip("/").rsplit("/", 1)[-1]: tuple(entry.get(sign) for sign in _SIGNS) for entry in entries
        }

    def _all_names(self, folder: str) -> list[str]:
        # Listings may be cached by fsspec; other processes write here.
        self.fs.invalidate_cache(self.path(folder))
        try:
            entries = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or `length` of them from `offset`: one range request on an object store."""
        if self.is_local:
            with self.open(name) as file:
                file.seek(offset)
                return file.read() if length is None else file.read(length)
        end = None if length is None else offset + length
        return cast(bytes, self.fs.cat_file(self.path(name), start=offset, end=end))

    def size(self, name: str) -> int:
        """The size of a file in bytes."""
        return int(self.fs.size(self.path(name)))

    def open(self, name: str) -> BinaryIO:
        if self.is_local:
            return os.fdopen(self.descriptor(name), "rb")
        return cast(BinaryIO, self.fs.open(self.path(name), "rb"))

    def descriptor(self, name: str) -> int:
        """A file descriptor of a regular file of a local store, to read from; the caller closes it."""
        path = self.path(name)
        if self._sealed:
            path, root = os.path.realpath(path), os.path.realpath(self.root)
            if os.path.commonpath([path, root]) != root:
                raise OSError(
                    f"{self.path(name)} is a link that leads out of {self.root}: put a copy of its file there"
                )
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # or a pipe without a writer waits
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            kind = IsADirectoryError if stat.S_ISDIR(mode) else OSError
            raise kind(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "is not a regular file", self.path(name))
        return descriptor

    @contextmanager
    def write(self, name: str) -> Iterator[BinaryIO]:
        """A file that appears under its final name when the block ends, and not at all if it raises.

        Locally: a temporary name in the same folder, fsync, rename, fsync of the folder. Elsewhere: a local
        temporary file, then one upload, which object stores show only when complete.
        """
        if self.is_local:
            final = Path(self.path(name))
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary = final.parent / f".{final.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}"
            try:
                with naming(final), open(temporary, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, final)
                _fsync_folder(final.parent)
            finally:
                temporary.unlink(missing_ok=True)
        else:
            with tempfile.NamedTemporaryFile() as file:
                yield cast(BinaryIO, file)
                file.flush()
                self.fs.put_file(file.name, self.path(name))

    def write_bytes(self, name: str, data: bytes) -> None:
        with self.write(name) as file:
            file.write(data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless there is one of this name: whether it was written.

        Of two at the same time one alone succeeds, locally and on stores that can refuse (S3, Google Cloud Storage).
        """
        try:
            if self.is_local:
                Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
                with open(self.path(name), "xb") as file:
                    file.write(data)
            else:
                self.fs.pipe_file(self.path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        self.fs.rm_file(self.path(name))

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and all that is in it. A store of objects has no folders: what is in it is removed."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(folder), recursive=True)

    def remove_temporary(self, folder: str) -> None:
        """Remove what killed processes left half-written in a folder."""
        for name in self.temporary_names(folder):
            self.fs.rm_file(self.path(f"{folder}/{name}".lstrip("/")))


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Have a write for which there is no room name its file, which its error does not by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _NO_SPACE:
            error.filename = str(path)
        raise


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
