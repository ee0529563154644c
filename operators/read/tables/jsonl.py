"""Reads JSON Lines: an object a line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from manifests.schema import Reject, in_a_line
from operators.read.columns import names_in
from operators.read.tables.base import Listed, Row
from operators.read.tables.lines import as_text, lines, refuse_other_encoding

_LOOKED_AT = 100  # rows by which a file's columns are told


@dataclass(frozen=True, kw_only=True)
class Jsonl:
    """The lines of a file in which each is a JSON object; blank ones are no rows. A row's index is its offset."""

    root: str
    path: str

    def names(self) -> Collection[str]:
        self._refuse_other()
        found: dict[str, None] = {}
        for _, line in islice(lines(self.root, self.path), _LOOKED_AT):
            if line.strip():
                try:
                    found.update(dict.fromkeys(names_in(self._parsed(line, self.path))))
                except Reject:  # a row that will say so itself
                    continue
        return list(found)

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        self._refuse_other()
        number = 0
        for offset, line in lines(self.root, self.path):
            if line.strip():
                try:
                    row = self._parsed(line, self.path)
                except Reject:
                    row = {}
                yield Listed(name=f"#{number}", index=offset, row=row)
                number += 1

    def row(self, index: int, wanted: Collection[str]) -> Row:
        try:
            _, line = next(lines(self.root, self.path, index, one_row=True))
        except (FileNotFoundError, StopIteration) as error:
            raise Reject("missing", f"{self.path}: gone since it was listed, or shorter than then") from error
        return self._parsed(line, f"{self.path}: the line at byte {index:,}")

    def _parsed(self, line: bytes, where: str) -> Row:
        text = as_text(line, where)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Reject("damaged", f"{where} is no JSON: {in_a_line(error, 200)}") from None
        if not isinstance(found, dict):
            raise Reject("damaged", f"{where} is no JSON object, but {type(found).__name__}")
        return found

    def _refuse_other(self) -> None:
        refuse_other_encoding(self.root, self.path)
        first = next((line for _, line in lines(self.root, self.path) if line.strip()), b"")
        if first.lstrip()[:1] == b"[":
            raise ValueError(
                f"DATA: {self.root}/{self.path} is one JSON list, not JSON Lines: give it a name that ends "
                "in .json, by which it is read as that"
            )
