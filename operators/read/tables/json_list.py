"""Reads JSON files that are one list of objects, without having the list in memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from manifests.schema import Reject, in_a_line
from manifests.storage import Store
from operators.read.columns import names_in
from operators.read.files import on_disk
from operators.read.tables.base import Listed, Row
from operators.read.tables.lines import MOST_BYTES, refuse_other_encoding

_AT_ONCE = 2**20  # bytes of a file that is read to its end
_OF_A_ROW = 2**16  # bytes of a file of which one row is read
_BEGINNING = 256  # bytes by which a list is told
_LOOKED_AT = 100  # rows by which a file's columns are told
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_DECODER = json.JSONDecoder()


def is_json_list(root: str, path: str) -> bool:
    """Whether a file begins as a JSON list does. Raises FileNotFoundError."""
    store = Store(root)
    first = store.read(on_disk(store, path), 0, _BEGINNING)
    return first.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


@dataclass(frozen=True, kw_only=True)
class JsonList:
    """The objects of a list. A row's index is the offset, in bytes, at which it begins."""

    root: str
    path: str

    def names(self) -> Collection[str]:
        found: dict[str, None] = {}
        for _, row in islice(self._values(), _LOOKED_AT):
            if isinstance(row, dict):
                found.update(dict.fromkeys(names_in(row)))
        return list(found)

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        for number, (offset, row) in enumerate(self._values()):
            yield Listed(name=f"#{number}", index=offset, row=row if isinstance(row, dict) else {})

    def row(self, index: int, wanted: Collection[str]) -> Row:
        where = f"{self.path}: the object at byte {index:,}"
        try:
            _, found = next(self._from(index, _OF_A_ROW))
        except (FileNotFoundError, StopIteration) as error:
            raise Reject("missing", f"{self.path}: gone since it was listed, or shorter than then") from error
        except ValueError as error:
            raise Reject("damaged", f"{where}: {error}") from None
        if not isinstance(found, dict):
            raise Reject("damaged", f"{where} is no JSON object, but {type(found).__name__}")
        return found

    def _values(self) -> Iterator[tuple[int, Any]]:
        """The values of the list, each with its offset. Raises ValueError, naming the file, for what is no list."""
        refuse_other_encoding(self.root, self.path)
        store = Store(self.root)
        first = store.read(on_disk(store, self.path), 0, _OF_A_ROW)
        text = first.removeprefix(codecs.BOM_UTF8).lstrip()
        if not text.startswith(b"["):
            raise ValueError(f"DATA: {self.root}/{self.path} is no JSON list: it begins with {text[:20]!r}")
        try:
            yield from self._from(len(first) - len(text) + 1, _AT_ONCE)
        except ValueError as error:
            raise ValueError(f"DATA: {self.root}/{self.path}: {error}; download it again") from None

    def _from(self, start: int, at_once: int) -> Iterator[tuple[int, Any]]:
        """The values from an offset on, behind the list's beginning or at one of them, up to the list's end.

        Raises ValueError, saying where, for what is no JSON, is cut off or is larger than MOST_BYTES.
        """
        store = Store(self.root)
        name = on_disk(store, self.path)
        size, at, begins = store.size(name), start, start
        decoder = codecs.getincrementaldecoder("utf-8")()
        held, place = "", 0
        while True:
            between = _BETWEEN.match(held, place)
            begins += len(between[0]) if between else 0  # which is ASCII
            place = between.end() if between else place
            if held.startswith("]", place):
                return
            try:
                value, end = _DECODER.raw_decode(held, place)
            except (ValueError, RecursionError) as error:
                if at >= size or len(held) - place > MOST_BYTES:
                    raise ValueError(f"at byte {begins:,} it is cut off or no JSON ({in_a_line(error, 200)})") from None
            else:
                if end < len(held):  # what ends where the text does may be the beginning of a number
                    yield begins, value
                    begins += len(held[place:end].encode())
                    place = end
                    continue
                if at >= size:
                    raise ValueError(f"at byte {begins:,} it is cut off")
            data = store.read(name, at, at_once)
            at += len(data)
            held, place = held[place:] + decoder.decode(data, final=at >= size), 0
