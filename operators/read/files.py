"""Listing and reading the files of a source below a data root, which is a local folder or any fsspec URL."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache, partial
from itertools import pairwise
from typing import Any, BinaryIO

from manifests.images.pixels import MAX_BYTES
from manifests.schema import Reject
from manifests.storage import Store, is_hidden, spelled_out

IMAGE_ENDINGS = frozenset(["avif", "bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"])
"""Endings by which a folder is recognised as holding images. What a file is, its content says."""

RAW_ENDINGS = frozenset(["3fr", "arw", "cr2", "cr3", "dng", "nef", "orf", "pef", "raf", "raw", "rw2", "srw"])
"""Endings of camera RAW, which is not read (manifests/images/raw.py), but may be one side of pairs."""

HIDDEN = "hidden files and folders"
DATASETS = "datasets of ours"

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
    """False for what cannot be read under its path: a dangling link, a pipe."""

    @property
    def stamp(self) -> str:
        """What tells this file from a changed one of the same name; "" if it cannot be read."""
        return f"{self.bytes} {self.etag or self.modified_s}" if self.readable else ""


class Listing(list[SourceFile]):
    """The files below a data root, by path, and what was passed over."""

    def __init__(self, files: Iterable[SourceFile] = (), passed_over: Mapping[str, int] | None = None) -> None:
        super().__init__(files)
        self.passed_over: Mapping[str, int] = dict(passed_over or {})
        """How many files and folders are not read, by what they are; a folder counts once, whatever is in it."""

    @cached_property
    def folders(self) -> Mapping[str, str]:
        """All folders in lower case, and as the first of them by name is spelled."""
        spelled: dict[str, str] = {}
        for folder in {posixpath.dirname(file.path) for file in self}:
            parts = folder.split("/")
            for count in range(1, len(parts) + 1):
                above = "/".join(parts[:count])
                spelled[above.lower()] = min(above, spelled.get(above.lower(), above))
        return spelled

    @cached_property
    def stems(self) -> Sequence[str]:
        """The paths without their endings, in the same order."""
        return [posixpath.splitext(file.path)[0] for file in self]


def list_files(root: str) -> Listing:
    """All files below the root, by path. Links are followed, each folder once. What is neither a file nor a folder,
    such as a pipe, is listed too, so that it is rejected with a reason.

    Passed over, and counted, are hidden files and folders, what systems and programs leave beside photos, and
    dataset directories of ours, since OUT may lie inside DATA. What the root itself is called makes no difference.

    Raises ValueError if there is no such folder, if one in it cannot be listed, or if two files in it would have the
    same name in a manifest.
    """
    store = Store(root)
    passed_over: Counter[str] = Counter()
    if not store.is_local:
        entries = store.fs.find(store.root, detail=True).values()
        found = [_in_bucket(store, entry) for entry in entries if not _is_folder_mark(entry)]
        if any(not file.path for file in found):
            raise ValueError(_no_folder(root, is_file=True))
        files = _not_passed_over(found, passed_over)
        if not entries and not store.exists(""):
            raise ValueError(_no_folder(root))
    elif os.path.isdir(store.root):
        files = [*_walk(store.root, passed_over)]
    else:
        raise ValueError(_no_folder(root, is_file=os.path.exists(store.root)))
    files.sort(key=lambda file: file.path)
    for one, other in pairwise(files):
        if one.path == other.path:
            raise ValueError(f"DATA: two files below {root} would both be called {one.path}: rename one of them")
    return Listing(files, passed_over)


def _no_folder(root: str, *, is_file: bool = False) -> str:
    if is_file:
        return f"DATA: {root} is a file: point DATA at the folder that holds it"
    return f"DATA: there is no folder {root}"


def _is_folder_mark(entry: Mapping[str, Any]) -> bool:
    """Whether it is the empty object with which consoles and sync programs make a folder, that of the root included."""
    return bool(entry["name"].endswith("/")) and not entry["size"]


def _in_bucket(store: Store, entry: Mapping[str, Any]) -> SourceFile:
    written = entry.get("LastModified")
    mark = next((entry[name] for name in _STAMPED_BY if entry.get(name)), "")
    return SourceFile(
        path=entry["name"].removeprefix(store.root).lstrip("/"),
        bytes=entry["size"] or 0,
        modified_s=written.timestamp() if written else 0.0,
        etag=str(mark.timestamp() if isinstance(mark, datetime) else mark),  # listings spell times either way
    )


def _not_passed_over(files: Sequence[SourceFile], passed_over: Counter[str]) -> list[SourceFile]:
    """The files of a store of objects that are read; the others are counted, a folder once."""
    ours = {folder for file in files if (folder := posixpath.dirname(file.path)) and _is_plan(file.path)}
    kept, seen = [], set()
    for file in files:
        parts = file.path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        found = next(((path, kind) for path in above if (kind := _kind(path, path in ours))), None)
        if found is None:
            kept.append(file)
        elif found not in seen:
            seen.add(found)
            passed_over[found[1]] += 1
    return kept


def _kind(path: str, ours: bool) -> str:
    """What a file or folder is that is not read; "" if it is read."""
    name = posixpath.basename(path)
    if is_hidden(name):
        return HIDDEN
    return DATASETS if ours else ""


def _is_plan(path: str) -> bool:
    return posixpath.basename(path) == "plan.parquet"


def _walk(root: str, passed_over: Counter[str]) -> Iterable[SourceFile]:
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        folders.sort()  # where two links lead to one folder, the first by name is followed
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        if folder != root and any(map(_is_plan, names)):
            passed_over[DATASETS] += 1
            folders.clear()
            continue
        hidden = set(filter(is_hidden, (*folders, *names)))
        if hidden:
            passed_over[HIDDEN] += len(hidden)
        folders[:] = [name for name in folders if name not in hidden]
        for name in names:
            if name in hidden:
                continue
            full = os.path.join(folder, name)
            with suppress(FileNotFoundError):  # removed while its folder was listed
                yield _source_file(full, os.path.relpath(full, root))


def _source_file(full: str, path: str) -> SourceFile:
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
    return SourceFile(
        path=spelled_out(path),
        bytes=status.st_size,
        modified_s=status.st_mtime,
        readable=stat.S_ISREG(status.st_mode),
    )


def _refuse(error: OSError) -> None:
    """What would be missing from the dataset without a word."""
    raise ValueError(f"DATA: {error.filename} cannot be listed: {error.strerror}") from error


def files_now(root: str, paths: Iterable[str]) -> Iterator[SourceFile | None]:
    """Files of a listing as they are now, in order; None for one that is not there, or is no file, any more."""
    store = store_of(root)
    if store.is_local:
        yield from (_now(store, path) for path in paths)
    else:
        with ThreadPoolExecutor(_REQUESTS_AT_A_TIME) as pool:
            yield from pool.map(partial(_now, store), paths)


def _now(store: Store, path: str) -> SourceFile | None:
    if store.is_local:
        try:
            found = _source_file(store.path(on_disk(store, path)), path)
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
    store = store_of(root)
    full = store.path(on_disk(store, folder)).rstrip("/")
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
    store = store_of(root)
    try:
        data = _read_local(store, path, most_bytes) if store.is_local else _read_object(store, path, most_bytes)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE or isinstance(error, FileNotFoundError):
            raise Reject("missing", f"{path}: gone since it was listed, or a dangling link") from error
        if isinstance(error, PermissionError) and store.is_local:  # a bucket's keys may have expired
            raise Reject("unreadable", f"{path}: no permission to read it") from error
        raise
    if len(data) > most_bytes:
        raise too_large(path, len(data), most_bytes)
    return data


def _read_local(store: Store, path: str, most_bytes: int) -> bytes:
    name = on_disk(store, path)
    try:
        status = os.stat(store.path(name))
    except OSError:
        return store.read(name)  # which says the same, and why
    _refuse_no_file(path, status.st_mode)
    if status.st_size > most_bytes:
        raise too_large(path, status.st_size, most_bytes)
    data = store.read(name, 0, status.st_size + 1)
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
    store = store_of(root)
    name = on_disk(store, path)
    if store.is_local:
        _refuse_no_file(path, os.stat(store.path(name)).st_mode)
    return store.open(name)


def too_large(name: str, size: int, most_bytes: int = MAX_BYTES) -> Reject:
    """The reject for what is not read because it would not be an image of a sensible size."""
    return Reject("too_large", f"{name}: {size:,} bytes, more than {most_bytes:,}")


def _refuse_no_file(path: str, mode: int) -> None:
    """Raises Reject for what is neither a file nor a folder."""
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise Reject("not_a_file", f"{path}: it is {kind}, not a file")


def on_disk(store: Store, path: str) -> str:
    """The path of a file as the disk has it: with the bytes that are not UTF-8, which a listing has spelled out."""
    if not store.is_local or "\\x" not in path or os.path.lexists(store.path(path)):
        return path
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match[1], 16)), path)


store_of = lru_cache(maxsize=8)(Store)
"""The store of a root; to parse a URL costs half as much as to read a small file."""


def ending(path: str) -> str:
    """The ending of a file name in lower case without its dot, "" if it has none; jpeg and tiff in their short form."""
    suffix = posixpath.splitext(path)[1].lower().lstrip(".")
    return {"jpeg": "jpg", "jpe": "jpg", "jfif": "jpg", "tiff": "tif"}.get(suffix, suffix)


def commonest_ending(paths: Iterable[str]) -> str:
    """The commonest image ending, the first by alphabet among equals; "png" if there is none."""
    counts = Counter(found for path in paths if (found := ending(path)) in IMAGE_ENDINGS)
    return min(counts, key=lambda found: (-counts[found], found), default="png")
