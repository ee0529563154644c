"""What a reader asks of a table of pairs, whatever its format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Row = Mapping[str, Any]
"""The values of a row, by column; a column that it has no value for may be missing."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A row as a plan knows it."""

    name: str
    """What tells the row from the others of its file, with what separates it: "#12", "/000000012"."""
    index: int
    """By which the table finds the row again."""
    files: tuple[str, ...] = ()
    """Files that the row is read from beside its table's and those that its values name."""
    row: Row
    """The values that can be had without reading images, as paths of images beside the file; none of a damaged row."""


class Table(Protocol):
    """The rows of one file below a data root."""

    def names(self) -> Collection[str]:
        """The columns, in order, by what the file's beginning says of them; of one with fields, these ("meta.task").

        Raises ValueError, one line that names the file, for what is no table of this format.
        """
        ...

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        """The rows, in order, of columns by the names that users give them; in bounded memory. Raises as `names`."""
        ...

    def row(self, index: int, wanted: Collection[str]) -> Row:
        """The values of one row, images as bytes, structs or paths. Raises Reject: missing, damaged, too_large."""
        ...
