"""Listing and reading the files of a source below a data root, which is a local folder or any fsspec URL."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from manifests.images.pixels import MAX_BYTES
from manifests.schema import Reject
from manifests.storage import Store

IMAGE_ENDINGS = frozenset(["avif", "bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"])
"""Endings by which a folder is recognised as holding images. What a file is, its content says."""

_NO_SUCH_FILE = frozenset([errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG])


_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}

_REQUESTS_AT_A_TIME = 16  # to a bucket, whose latency many files would wait for one after the other

_STAMPED_BY = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "created")
"""What stores call the mark of an object's content, or the time it was written, the surest first: those of s3fs, gcsfs,
adlfs and fsspec's own."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file below a data root."""

    path: str
    bytes: int
    modified_s: float
    etag: str = ""
    """What a bucket says of the content, by which it is told from what may be written there later."""
    readable: bool = True
    """False for what cannot be read under its path: a dangling link, a pipe, a name that is not UTF-8."""

    @property
    def stamp(self) -> str:
        """What tells this file from a changed one of the same name; "" if it cannot be read."""
        return f"{self.bytes} {self.etag or self.modified_s}" if self.readable else ""


def list_files(root: str) -> list[SourceFile]:
    """All files below the root, by path. Links are followed, each folder once. What is neither a file nor a folder,
    such as a pipe, is listed too, so that it is rejected with a reason.

    Raises ValueError if there is no such folder, or if one in it cannot be listed.
    """
    store = Store(root)
    if not store.is_local:
        files = [_in_bucket(store, entry) for entry in store.fs.find(store.root, detail=True).values()]
        if any(not file.path for file in files):
            raise ValueError(_no_folder(root, is_file=True))
        if not files and not store.exists(""):
            raise ValueError(_no_folder(root))
    elif os.path.isdir(store.root):
        files = list(_walk(store.root))
    else:
        raise ValueError(_no_folder(root, is_file=os.path.exists(store.root)))
    return sorted(files, key=lambda file: file.path)


def _no_folder(root: str, *, is_file: bool = False) -> str:
    return f"DATA: {'it is a file; point DATA at the folder that holds it: ' * is_file}there is no folder {root}"


def _in_bucket(store: Store, entry: Mapping[str, Any]) -> SourceFile:
    written = entry.get("LastModified")
    mark = next((entry[name] for name in _STAMPED_BY if entry.get(name)), "")
    return SourceFile(
        path=entry["name"].removeprefix(store.root).lstrip("/"),
        bytes=entry["size"] or 0,
        modified_s=written.timestamp() if written else 0.0,
        etag=str(mark.timestamp() if isinstance(mark, datetime) else mark),  # listings spell times either way
    )


def _walk(root: str) -> Iterable[SourceFile]:
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        folders.sort()  # where two links lead to one folder, the first by name is followed
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            full = os.path.join(folder, name)
            with suppress(FileNotFoundError):  # removed while its folder was listed
                yield _on_disk(full, os.path.relpath(full, root))


def _on_disk(full: str, path: str) -> SourceFile:
    """Raises FileNotFoundError if there is nothing, ValueError if nothing can be said of it."""
    try:
        status = os.stat(full)
    except OSError:  # a link to nothing or to itself: listed, so that it is rejected with a reason
        try:
            status = os.lstat(full)
        except FileNotFoundError:
            raise
        except OSError as error:
            _refuse(error)
            raise
    # A name that is not UTF-8 cannot go into a manifest. Spelled out it does not exist, and is rejected so.
    spelled = os.fsencode(path).decode("utf-8", "backslashreplace")
    readable = stat.S_ISREG(status.st_mode) and spelled == path
    return SourceFile(path=spelled, bytes=status.st_size, modified_s=status.st_mtime, readable=readable)


def _refuse(error: OSError) -> None:
    """What would be missing from the dataset without a word."""
    raise ValueError(f"DATA: {error.filename} cannot be listed: {error.strerror}") from error


def files_now(root: str, paths: Iterable[str]) -> Iterator[SourceFile | None]:
    """Files of a listing as they are now, in order; None for one that is not there, or is no file, any more."""
    store = _store(root)
    if store.is_local:
        yield from (_now(store, path) for path in paths)
    else:
        with ThreadPoolExecutor(_REQUESTS_AT_A_TIME) as pool:
            yield from pool.map(partial(_now, store), paths)


def _now(store: Store, path: str) -> SourceFile | None:
    if store.is_local:
        try:
            found = _on_disk(store.path(path), path)
        except FileNotFoundError:
            return None
        return found if found.readable else None
    full = store.path(path)
    store.fs.invalidate_cache(full.rpartition("/")[0])
    try:
        return _in_bucket(store, store.fs.info(full))
    except FileNotFoundError:
        return None


def is_empty(root: str, folder: str) -> bool:
    """Whether a folder below a root holds nothing any more, or is gone itself."""
    store = _store(root)
    full = store.path(folder).rstrip("/")
    if store.is_local:
        try:
            with os.scandir(full) as entries:
                return next(entries, None) is None
        except (FileNotFoundError, NotADirectoryError):
            return True
    return not store.names(folder)


def read_file(root: str, path: str, most_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a file, of which no more than `most_bytes` are ever read.

    Raises Reject for what a retry would not change (missing, unreadable, not_a_file, too_large), and OSError if the
    file is being written.
    """
    store = _store(root)
    try:
        data = _read_local(store, path, most_bytes) if store.is_local else _read_object(store, path, most_bytes)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE or isinstance(error, FileNotFoundError):
            message = f"{path}: gone since it was listed, a dangling link, or a name that is not UTF-8"
            raise Reject("missing", message) from error
        if isinstance(error, PermissionError):
            raise Reject("unreadable", f"{path}: no permission to read it") from error
        raise
    if len(data) > most_bytes:
        raise too_large(path, len(data), most_bytes)
    return data


def _read_local(store: Store, path: str, most_bytes: int) -> bytes:
    try:
        status = os.stat(store.path(path))
    except OSError:
        return store.read(path)  # which says the same, and why
    _refuse_no_file(path, status.st_mode)
    if status.st_size > most_bytes:
        raise too_large(path, status.st_size, most_bytes)
    data = store.read(path, 0, status.st_size + 1)
    if len(data) != status.st_size:
        raise OSError(f"{store.path(path)} was written to while it was read")
    return data


def _read_object(store: Store, path: str, most_bytes: int) -> bytes:
    try:
        return store.read(path, 0, most_bytes + 1)  # one request, for what may have grown since it was listed
    except Exception:
        now = _now(store, path)
        if now and now.bytes == 0:  # of which stores refuse to give a range
            return b""
        raise


def read_list(root: str, path: str) -> bytes:
    """The bytes of a file that says what a source's items are, without which there is no plan.

    Raises ValueError, naming the file, where `read_file` raises Reject.
    """
    try:
        return read_file(root, path)
    except Reject as reject:
        raise ValueError(f"DATA: {root}/{path} cannot be read ({reject.reason}): {reject.message}") from reject


def open_file(root: str, path: str) -> BinaryIO:
    """A file, to be read in parts. Raises Reject, not_a_file, for a pipe, whose opening would wait for ever."""
    store = _store(root)
    if store.is_local:
        _refuse_no_file(path, os.stat(store.path(path)).st_mode)
    return store.open(path)


def too_large(name: str, size: int, most_bytes: int = MAX_BYTES) -> Reject:
    """The reject for what is not read because it would not be an image of a sensible size."""
    return Reject("too_large", f"{name}: {size:,} bytes, more than {most_bytes:,}")


def _refuse_no_file(path: str, mode: int) -> None:
    """Raises Reject for what is neither a file nor a folder."""
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise Reject("not_a_file", f"{path}: it is {kind}, not a file")


_store = lru_cache(maxsize=8)(Store)  # to parse a URL costs half as much as to read a small file


def ending(path: str) -> str:
    """The ending of a file name in lower case without its dot, "" if it has none; jpeg and tiff in their short form."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tiff": "tif"}.get(suffix, suffix)


def commonest_ending(paths: Iterable[str]) -> str:
    """The commonest image ending, the first by alphabet among equals; "png" if there is none."""
    counts = Counter(found for path in paths if (found := ending(path)) in IMAGE_ENDINGS)
    return min(counts, key=lambda found: (-counts[found], found), default="png")
