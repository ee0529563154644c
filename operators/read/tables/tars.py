"""Reads WebDataset tars as tables of pairs: the members of one key are a row, each a column by what ends its name."""

from __future__ import annotations

import json
import posixpath
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from manifests.images.pixels import MAX_BYTES
from manifests.schema import Reject, in_a_line
from manifests.storage import spelled_out
from operators.read.columns import names_in
from operators.read.files import IMAGE_ENDINGS, on_disk, open_file, store_of, too_large
from operators.read.tables.base import Listed, Row

JSON = "json"
"""The member whose fields are columns too."""

_TARS = 4  # indexes that are kept per process, of some 10,000 members each
_LOOKED_AT = 20  # rows by whose JSON a tar's columns are told
_MOST_TEXT_BYTES = 16 * 2**20
NOT_A_HEADER = (tarfile.TarError, EOFError, ValueError, OverflowError, LookupError)
"""What tarfile raises where a header has other numbers, names or maps of holes than tars have."""


@dataclass(frozen=True, kw_only=True)
class InTar:
    """The samples of a tar, as WebDataset groups them: consecutive members with one name up to its first dot.

    `000012.input.jpg` is the column "input" of the row 000012, and "input.jpg" too; what `000012.json` has are columns,
    unless there is a member of the name. Members are read in place, by a walk along the headers: nothing is unpacked,
    and links and pipes in a tar are nothing. A row's index is its number.
    """

    root: str
    path: str

    def names(self) -> Collection[str]:
        samples = self._index().samples
        found: dict[str, None] = {}
        for number, sample in enumerate(samples):
            found.update(dict.fromkeys(_column(name) for name in sample.members if name != JSON))
            if number < _LOOKED_AT and JSON in sample.members:
                try:
                    found.update(dict.fromkeys(names_in(self._fields(sample))))
                except Reject:  # a row that will say so itself
                    continue
        return list(found)

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        seen: set[str] = set()
        for number, sample in enumerate(self._index().samples):
            again = f"#{number}" if sample.key in seen else ""
            seen.add(sample.key)
            yield Listed(name=f"/{sample.key}{again}", index=number, row={})

    def row(self, index: int, wanted: Collection[str]) -> Row:
        try:
            found = self._index()
        except ValueError as error:
            raise Reject("damaged", str(error)) from error
        if index >= len(found.samples):
            raise Reject("damaged", f"{self.path} has fewer samples than when it was listed")
        sample = found.samples[index]
        row: dict[str, Any] = {}
        for name in wanted:
            if member := sample.member(name):
                row[name] = self._bytes(f"{sample.key}.{member}", sample.members[member], MAX_BYTES)
        if any(name not in row for name in wanted) and JSON in sample.members:
            row = {**self._fields(sample), **row}
        return row

    def _fields(self, sample: _Sample) -> Mapping[str, Any]:
        where = f"{self.path}/{sample.key}.{JSON}"
        try:
            found = json.loads(self._bytes(where, sample.members[JSON], _MOST_TEXT_BYTES))
        except (ValueError, RecursionError) as error:
            raise Reject("damaged", f"{where} is no JSON: {in_a_line(error, 200)}") from None
        if not isinstance(found, dict):
            raise Reject("damaged", f"{where} is no JSON object")
        return found

    def _bytes(self, name: str, place: tuple[int, int], most: int) -> bytes:
        offset, length = place
        if length > most:
            raise too_large(name, length, most)
        store = store_of(self.root)
        data = store.read(on_disk(store, self.path), offset, length)
        if len(data) < length:
            raise Reject("damaged", f"{self.path} is cut off inside {name}")
        return data

    def _index(self) -> _Index:
        try:
            return _index(self.root, self.path)
        except FileNotFoundError as error:
            raise Reject("missing", f"{self.path}: gone since it was listed") from error


@dataclass(frozen=True, kw_only=True)
class _Sample:
    key: str
    members: Mapping[str, tuple[int, int]]
    """Offset and length of each, by what its name has behind the key, in lower case."""

    def member(self, name: str) -> str:
        """The member that a column's name stands for, "" if there is none."""
        if name.lower() in self.members:
            return name.lower()
        alike = [one for one in self.members if one.rpartition(".")[0] == name.lower() and _is_image(one)]
        return alike[0] if len(alike) == 1 else ""


@dataclass(frozen=True, kw_only=True)
class _Index:
    samples: Sequence[_Sample]


def _column(member: str) -> str:
    """What a member is called as a column: an image of a name of its own goes without its ending."""
    return member.rpartition(".")[0] or member if _is_image(member) else member


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2] in IMAGE_ENDINGS


@lru_cache(maxsize=_TARS)
def _index(root: str, path: str) -> _Index:
    """What lies in a tar; of one that is cut off or damaged, up to there. Raises ValueError for one that is packed."""
    samples: list[_Sample] = []
    key, members = "", dict[str, tuple[int, int]]()
    with open_file(root, path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.size < 0:  # of which tarfile would go back, and round and round
                        break
                    folder, name = posixpath.split(spelled_out(member.name))
                    stem, _, rest = name.partition(".")
                    if not member.isreg() or not rest or name.startswith("."):
                        continue
                    this = posixpath.join(folder, stem)
                    if this != key or rest.lower() in members:
                        if members:
                            samples.append(_Sample(key=key, members=members))
                        key, members = this, {}
                    members[rest.lower()] = (member.offset_data, member.size)
        except NOT_A_HEADER as error:
            if not samples and not members:
                raise ValueError(f"DATA: {root}/{path} is no tar ({in_a_line(error, 200)}): unpack it first") from None
    if members:
        samples.append(_Sample(key=key, members=members))
    return _Index(samples=samples)
