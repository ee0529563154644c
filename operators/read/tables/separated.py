"""Reads tables of separated values: CSV, TSV, and what spreadsheets write in their place."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from manifests.schema import Reject, in_a_line
from operators.read.files import ending
from operators.read.tables.base import Listed, Row
from operators.read.tables.lines import as_text, lines, refuse_other_encoding

_SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True, kw_only=True)
class Separated:
    """The rows of a file whose first names the columns; a value in quotes may have line ends in it.

    Values are separated by tabs in a .tsv file, else by the one of comma, semicolon and tab that the first row has most
    of; spaces behind it are no part of a value. A row's index is its offset. One that is broken, by a quote that is not
    closed, say, ends with its line.
    """

    root: str
    path: str

    def names(self) -> Collection[str]:
        header, _ = self._header()
        return [name for name in header if name]

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        header, separator = self._header()
        records = _records(lines(self.root, self.path), separator, self.path)
        next(records, None)
        for number, (offset, values) in enumerate(records):
            row = {} if isinstance(values, Reject) or len(values) != len(header) else _named(header, values)
            yield Listed(name=f"#{number}", index=offset, row=row)

    def row(self, index: int, wanted: Collection[str]) -> Row:
        where = f"{self.path}: the row at byte {index:,}"
        try:
            header, separator = self._header()
            _, values = next(_records(lines(self.root, self.path, index, one_row=True), separator, where))
        except (FileNotFoundError, StopIteration) as error:
            raise Reject("missing", f"{self.path}: gone since it was listed, or shorter than then") from error
        except ValueError as error:
            raise Reject("damaged", str(error)) from error
        if isinstance(values, Reject):
            raise values
        if len(values) != len(header):
            raise Reject("damaged", f"{where} has {len(values):,} values, and the header {len(header):,}")
        return _named(header, values)

    def _header(self) -> tuple[Sequence[str], str]:
        """The names of the columns, and what separates values. Raises ValueError, one line, for no table."""
        refuse_other_encoding(self.root, self.path)
        separator = "\t" if ending(self.path) == "tsv" else ""
        if not separator:
            _, first = next(lines(self.root, self.path, one_row=True), (0, b""))
            separator = max(_SEPARATORS, key=lambda one: first.count(one.encode()))
        _, header = next(_records(lines(self.root, self.path, one_row=True), separator, self.path), (0, []))
        if isinstance(header, Reject):
            raise ValueError(f"DATA: {self.root}/{header.message}")
        header = [name.strip() for name in header]
        if twice := [name for name, count in Counter(filter(None, header)).items() if count > 1]:
            raise ValueError(f"DATA: {self.root}/{self.path} has two columns {twice[0]}: give each a name of its own")
        return header, separator


def _named(header: Sequence[str], values: Sequence[str]) -> Row:
    return {name: value for name, value in zip(header, values, strict=True) if name}


def _records(
    source: Iterator[tuple[int, bytes]], separator: str, where: str
) -> Iterator[tuple[int, Sequence[str] | Reject]]:
    """The values of each row, or what is wrong with it, and the offset at which it begins; blank lines are no rows."""
    again: list[tuple[int, bytes]] = []
    while True:
        taken: list[tuple[int, bytes]] = []
        found: Sequence[str] | Reject | None
        try:
            found = next(
                csv.reader(_fed(again, source, taken, where), delimiter=separator, skipinitialspace=True, strict=True),
                None,
            )
        except Reject as reject:
            found = reject
        except csv.Error as error:
            found = Reject("damaged", f"{where} cannot be read: {in_a_line(error, 200)}")
        if found is None:
            return
        if isinstance(found, Reject):
            again[:0] = taken[1:]
        if found:
            yield taken[0][0], found


def _fed(
    again: list[tuple[int, bytes]],
    source: Iterator[tuple[int, bytes]],
    taken: list[tuple[int, bytes]],
    where: str,
) -> Iterator[str]:
    """The lines that are to be read again, then those of a source, as text; each is noted in `taken` first."""
    while entry := again.pop(0) if again else next(source, None):
        taken.append(entry)
        yield as_text(entry[1], where)
