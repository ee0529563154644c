"""Listing and reading the files of a source below a data root, which is a local folder or any fsspec URL."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePosixPath

from manifests.schema import Reject
from manifests.storage import Store, is_hidden, spelled_out

IMAGE_ENDINGS = frozenset(["bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"])
"""Endings by which a folder is recognised as holding images. What a file is, its content says."""

HIDDEN = "hidden files and folders"
DATASETS = "datasets of ours"

_NO_SUCH_FILE = frozenset([errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG])


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file below a data root."""

    path: str
    bytes: int
    modified_s: float


class Listing(list[SourceFile]):
    """The files below a data root, by path, and what was passed over."""

    def __init__(self, files: Iterable[SourceFile] = (), passed_over: Mapping[str, int] | None = None) -> None:
        super().__init__(files)
        self.passed_over: Mapping[str, int] = dict(passed_over or {})
        """How many files and folders are not read, by what they are; a folder counts once, whatever is in it."""


def list_files(root: str) -> Listing:
    """All files below the root, by path. Links are followed, each folder once.

    Passed over, and counted, are hidden files and folders, what systems and programs leave beside photos, and
    dataset directories of ours, since OUT may lie inside DATA. What the root itself is called makes no difference.

    Raises ValueError if there is no such folder, if one in it cannot be listed, or if two files in it would have the
    same name in a manifest.
    """
    store = Store(root)
    passed_over: Counter[str] = Counter()
    if not store.is_local:
        found = store.fs.find(store.root, detail=True).values()
        files = _not_passed_over(
            [
                SourceFile(
                    path=entry["name"].removeprefix(store.root).lstrip("/"),
                    bytes=entry["size"] or 0,
                    modified_s=entry["LastModified"].timestamp() if "LastModified" in entry else 0.0,
                )
                for entry in found
            ],
            passed_over,
        )
        if not found and not store.exists(""):
            raise ValueError(f"DATA: there is no folder {root}")
    elif os.path.isdir(store.root):
        files = [*_walk(store.root, passed_over)]
    else:
        raise ValueError(f"DATA: there is no folder {root}")
    files.sort(key=lambda file: file.path)
    for one, other in pairwise(files):
        if one.path == other.path:
            raise ValueError(f"DATA: two files below {root} would both be called {one.path}: rename one of them")
    return Listing(files, passed_over)


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
            try:
                status = os.stat(full)
            except OSError:  # a link to nothing or to itself: listed, so that it is rejected with a reason
                status = os.lstat(full)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                continue  # to read a pipe would wait for ever
            path = spelled_out(os.path.relpath(full, root))
            yield SourceFile(path=path, bytes=status.st_size, modified_s=status.st_mtime)


def _refuse(error: OSError) -> None:
    """What would be missing from the dataset without a word."""
    raise ValueError(f"DATA: {error.filename} cannot be listed: {error.strerror}") from error


def read_file(root: str, path: str) -> bytes:
    """The bytes of a file. Raises Reject (missing, unreadable) for what a retry would not change."""
    store = _store(root)
    try:
        return store.read(on_disk(store, path))
    except OSError as error:
        if error.errno in _NO_SUCH_FILE or isinstance(error, FileNotFoundError):
            raise Reject("missing", f"{path}: gone since it was listed, or a dangling link") from error
        if isinstance(error, PermissionError):
            raise Reject("unreadable", f"{path}: no permission to read it") from error
        raise


def on_disk(store: Store, path: str) -> str:
    """The path of a file as the disk has it: with the bytes that are not UTF-8, which a listing has spelled out."""
    if not store.is_local or "\\x" not in path or os.path.lexists(store.path(path)):
        return path
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda match: chr(0xDC00 + int(match[1], 16)), path)


_store = lru_cache(maxsize=8)(Store)  # to parse a URL costs half as much as to read a small file


def ending(path: str) -> str:
    """The ending of a file name in lower case without its dot, "" if it has none; jpeg and tiff in their short form."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix)


def commonest_ending(paths: Iterable[str]) -> str:
    """The commonest image ending, the first by alphabet among equals; "png" if there is none."""
    counts = Counter(found for path in paths if (found := ending(path)) in IMAGE_ENDINGS)
    return min(counts, key=lambda found: (-counts[found], found), default="png")
