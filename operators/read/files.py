"""Listing and reading the files of a source below a data root, which is a local folder or any fsspec URL."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from manifests.schema import Reject
from manifests.storage import Store

IMAGE_ENDINGS = frozenset(["avif", "bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"])
"""Endings by which a folder is recognised as holding images. What a file is, its content says."""

_NO_SUCH_FILE = frozenset([errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG])


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file below a data root."""

    path: str
    bytes: int
    modified_s: float


def list_files(root: str) -> list[SourceFile]:
    """All files below the root, by path. Links are followed, each folder once.

    Raises ValueError if there is no such folder, or if one in it cannot be listed.
    """
    store = Store(root)
    if not store.is_local:
        found = store.fs.find(store.root, detail=True).values()
        files = [
            SourceFile(
                path=entry["name"].removeprefix(store.root).lstrip("/"),
                bytes=entry["size"] or 0,
                modified_s=entry["LastModified"].timestamp() if "LastModified" in entry else 0.0,
            )
            for entry in found
        ]
        if not files and not store.exists(""):
            raise ValueError(f"DATA: there is no folder {root}")
    elif os.path.isdir(store.root):
        files = list(_walk(store.root))
    else:
        raise ValueError(f"DATA: there is no folder {root}")
    return sorted(files, key=lambda file: file.path)


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
            try:
                status = os.stat(full)
            except OSError:  # a link to nothing or to itself: listed, so that it is rejected with a reason
                status = os.lstat(full)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                continue  # to read a pipe would wait for ever
            path = os.path.relpath(full, root)
            # A name that is not UTF-8 cannot go into a manifest. Spelled out it does not exist, and is rejected so.
            path = os.fsencode(path).decode("utf-8", "backslashreplace")
            yield SourceFile(path=path, bytes=status.st_size, modified_s=status.st_mtime)


def _refuse(error: OSError) -> None:
    """What would be missing from the dataset without a word."""
    raise ValueError(f"DATA: {error.filename} cannot be listed: {error.strerror}") from error


def read_file(root: str, path: str) -> bytes:
    """The bytes of a file. Raises Reject (missing, unreadable) for what a retry would not change."""
    try:
        return _store(root).read(path)
    except OSError as error:
        if error.errno in _NO_SUCH_FILE or isinstance(error, FileNotFoundError):
            message = f"{path}: gone since it was listed, a dangling link, or a name that is not UTF-8"
            raise Reject("missing", message) from error
        if isinstance(error, PermissionError):
            raise Reject("unreadable", f"{path}: no permission to read it") from error
        raise


_store = lru_cache(maxsize=8)(Store)  # to parse a URL costs half as much as to read a small file


def ending(path: str) -> str:
    """The ending of a file name in lower case without its dot, "" if it has none; jpeg and tiff in their short form."""
    suffix = PurePosixPath(path).suffix.lower().lstrip(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix)


def commonest_ending(paths: Iterable[str]) -> str:
    """The commonest image ending, the first by alphabet among equals; "png" if there is none."""
    counts = Counter(found for path in paths if (found := ending(path)) in IMAGE_ENDINGS)
    return min(counts, key=lambda found: (-counts[found], found), default="png")
