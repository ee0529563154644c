"""Reads pairs of which img2dataset has downloaded each column of images into a folder of its own."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from manifests.parquet import ParquetFile
from manifests.schema import Reject
from operators.read.files import read_file, store_of
from operators.read.img2dataset import image_in_tar
from operators.read.parquet import as_name, in_footers, read_row
from operators.read.tables.base import Listed, Row

_ENDINGS = ("jpg", "png", "webp")  # img2dataset's --encode_format
_ROWS_AT_ONCE = 10_000  # a shard's, by img2dataset's default


@dataclass(frozen=True, kw_only=True)
class Downloads:
    """The rows of one shard of which the images of all columns are there.

    Layout (img2dataset 1.47): <column>/00000.parquet with a row for every URL, and <column>/00000.tar, or a folder
    00000/, with <key>.jpg of what was downloaded; one run for each column of images over the same list of URLs, by
    which a row has the same place and key in each. A row's index is its place.
    """

    root: str
    path: str
    """The list of the first column's images."""
    folders: tuple[str, ...]
    """The columns of images, by which their folders are called."""

    def names(self) -> Collection[str]:
        (names,) = in_footers(lambda file: file.schema_arrow.names, self.root, [self.path])
        return [*self.folders, *(name for name in names if name not in _OF_IMG2DATASET)]

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        store = store_of(self.root)
        tars = tuple(tar for folder in self.folders if store.exists(tar := f"{folder}/{self._stem}.tar"))
        for index, (key, fault) in enumerate(self._states()):
            if not fault:
                yield Listed(name=f"/{key}", index=index, files=tars, row={})

    def left_out(self) -> Mapping[str, int]:
        return Counter(fault for _, fault in self._states() if fault)

    def row(self, index: int, wanted: Collection[str]) -> Row:
        texts = tuple(name for name in wanted if name not in self.folders)
        rows = [self._listed(folder, index, texts) for folder in self.folders]
        key = as_name(rows[0].get("key"))
        for folder, row in zip(self.folders, rows, strict=True):
            others = [name for name in row if name != "key" and name in rows[0] and row[name] != rows[0][name]]
            if as_name(row.get("key")) != key or others:
                raise Reject("other_row", f"{folder}/{self._stem}.parquet has another row in place {index}: {key}")
        return {**rows[0], **{folder: self._image(folder, key) for folder in self.folders}}

    @property
    def _stem(self) -> str:
        return posixpath.basename(self.path).removesuffix(".parquet")

    def _states(self) -> Iterator[tuple[str, str]]:
        """The key of each row, and why it is no pair, "" if it is one."""
        store = store_of(self.root)
        lists = [f"{folder}/{self._stem}.parquet" for folder in self.folders]
        missing = [path for path in lists if not store.exists(path)]
        states = [*in_footers(_states, self.root, [path for path in lists if path not in missing])]
        for place, (key, _) in enumerate(states[0]):
            failed = any(place >= len(of_one) or not of_one[place][1] for of_one in states)
            yield key, "of a shard that is not finished in each folder" if missing else "not downloaded" * failed

    def _listed(self, folder: str, index: int, texts: tuple[str, ...]) -> Row:
        """What the list of a folder has of a row: key and texts."""
        tops = tuple(dict.fromkeys(("key", *(name.split(".")[0] for name in texts), *texts)))
        return read_row(self.root, f"{folder}/{self._stem}.parquet", index, tops, _ROWS_AT_ONCE)

    def _image(self, folder: str, key: str) -> bytes:
        """Raises Reject: missing, missing_member, damaged, too_large."""
        store, stem = store_of(self.root), f"{folder}/{self._stem}"
        if store.exists(f"{stem}.tar"):
            return image_in_tar(self.root, f"{stem}.tar", key)
        there = next((kind for kind in _ENDINGS if store.exists(f"{stem}/{key}.{kind}")), _ENDINGS[0])
        return read_file(self.root, f"{stem}/{key}.{there}")


_OF_IMG2DATASET = frozenset(
    ["key", "status", "error_message", "width", "height", "original_width", "original_height", "exif", "md5", "sha256"]
)
"""Columns that img2dataset adds."""


def _states(file: ParquetFile) -> list[tuple[str, bool]]:
    """Key of each row, and whether its image is there. Raises ValueError for a list that is none of img2dataset's."""
    if lacking := {"key", "status"} - {*file.schema_arrow.names}:
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}, which img2dataset writes")
    table: Any = file.read(columns=["key", "status"])
    values = zip(table.column("key").to_pylist(), table.column("status").to_pylist(), strict=True)
    return [(as_name(key), as_name(status) == "success") for key, status in values]
