"""Where another dataset lies, as a manifest names it: the path to it from the folder that a dataset is in.

    data/ultraedit and data/magicbrush          magicbrush
    dev/magicbrush and data/magicbrush          ../data/magicbrush

So folders of datasets can be moved together. A dataset is told by its place, not by its task: two of one task are two
datasets. Both lie on one file system, and no path is absolute: what a manifest names is beside what it belongs to.
"""

from __future__ import annotations

import os
import posixpath

from manifests.schema import DatasetError
from manifests.storage import Store


def place_from(url: str, other: str) -> str:
    """How the dataset at a URL names the one at another. Raises DatasetError if they are on two file systems."""
    store, there = Store(url), Store(other)
    if store.fs != there.fs:
        raise DatasetError(f"{url} and {other} are on two file systems: copy one of them to the other's")
    return posixpath.relpath(there.root, posixpath.dirname(posixpath.normpath(store.root)) or ".")


def url_at(url: str, place: str) -> str:
    """The URL of a dataset that the one at a URL names. Raises DatasetError for what is not a path from its folder."""
    if "://" in place or posixpath.isabs(place) or not place or "\0" in place:
        raise DatasetError(f"{url} names a dataset at {place!r}, which is no path from its own folder: it was edited")
    scheme, separator, path = url.rpartition("://")
    return f"{scheme}{separator}{posixpath.normpath(posixpath.join(posixpath.dirname(path), place))}"


def folder_of(url: str) -> str:
    """The one name of a folder, however its URL is written: links are followed on this machine's own file system."""
    store = Store(url)
    if store.is_local:
        return os.path.realpath(str(store.root))
    return str(store.fs.unstrip_protocol(posixpath.normpath(store.root)))
