"""A stored pair and its examples as Python objects, over the Arrow rows of a manifest.

Rows are turned into Python column by column, for many pairs at once, and only the columns that somebody asks for: to
iterate over a dataset's bytes costs two system calls a pair and little else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb
from manifests.read.shards import Shards, verify_hint
from manifests.schema import MANIFEST, DatasetError, Direction, Kind, Reject, shown_inputs

EXAMPLE_COLUMNS = (
    *("direction", "kind", "instruction", "inputs", "output", "text"),
    *("contexts", "context_method"),
)
"""The columns of a manifest that differ between the examples of a pair; the others are the pair's."""

PAIR_COLUMNS = tuple(name for name in MANIFEST.names if name not in EXAMPLE_COLUMNS)

Find = Callable[[str | None, str], "StoredPair"]
"""Finds the pair of a key, in the dataset at a place (manifests/read/places.py) or, for None, in this one."""


@dataclass(frozen=True, kw_only=True)
class StoredExample:
    """One example of a stored pair: one row of the manifest."""

    pair: StoredPair
    direction: Direction
    kind: Kind
    instruction: str
    inputs: tuple[str, ...]
    """The roles of the input images, in order."""
    output: str | None
    """The role of the output image; None for a describe example, whose answer is `text`."""
    text: str | None
    ranked: tuple[Mapping[str, Any], ...]
    """The in-context examples as the manifest names them (`manifests.schema.CONTEXT`), the best first."""
    find: Find = field(repr=False, compare=False)

    def contexts(self) -> Iterator[StoredExample]:
        """The in-context examples, the best first: the other pairs' examples of the same direction and kind.

        Their inputs are those that they show (`manifests.schema.shown_inputs`). Raises DatasetError if a pair that the
        manifest names is not there.
        """
        for named in self.ranked:
            try:
                shown = self.find(named["dataset"], named["pair"]).example(self.direction, self.kind)
            except KeyError as error:
                raise DatasetError(f"the in-context example of {self.pair.key} is not there: {error.args[0]}") from None
            yield replace(shown, inputs=shown_inputs(shown.inputs, shown.pair.roles))

    def context(self) -> StoredExample | None:
        """The best in-context example; None if there is none. Raises as `contexts` does."""
        return next(self.contexts(), None)


class StoredPair:
    """One pair of a dataset. Its images are read, and its texts turned into Python, when they are asked for."""

    __slots__ = ("_number", "_rows", "key")

    def __init__(self, rows: Rows, number: int) -> None:
        self._rows, self._number = rows, number
        self.key: str = rows.keys[number]

    @property
    def task(self) -> str:
        return str(self._rows.of_pairs("task")[self._number])

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the images, in stored order."""
        return tuple(self._rows.places[self._number])

    @property
    def examples(self) -> tuple[StoredExample, ...]:
        """The examples, in stored order."""
        return tuple(map(self.example_in, self.example_rows))

    @property
    def example_rows(self) -> range:
        """The rows of its examples, among those that were read together with it: a unit's, say."""
        return range(*self._rows.starts[self._number : self._number + 2])

    def example_in(self, row: int) -> StoredExample:
        """The example in one of `example_rows`."""
        return self._rows.example(self, row)

    @property
    def headers(self) -> Mapping[str, tuple[str, int, int]]:
        """What the manifest says of its images, by role: encoding, width and height, px."""
        return self._rows.headers[self._number]

    @property
    def record(self) -> Mapping[str, Any]:
        """What the manifest says of the pair as a whole: its columns but those of single examples."""
        names = [name for name in PAIR_COLUMNS if name in self._rows.table.column_names]
        return {name: self._rows.of_pairs(name)[self._number] for name in names}

    def value(self, column: str) -> Any:
        """What the manifest says of the pair in one of the columns of `record`, without reading the others."""
        return self._rows.of_pairs(column)[self._number]

    def example(self, direction: Direction, kind: Kind) -> StoredExample:
        """The example of a direction and a kind. Raises KeyError if the pair has none."""
        for example in self.examples:
            if (example.direction, example.kind) == (direction, kind):
                return example
        raise KeyError(f"pair {self.key} has no example {direction} {kind}")

    def image_bytes(self, role: str) -> bytes:
        """The stored file of an image, undecoded: one positioned read.

        Raises KeyError if the pair has no such role, DatasetError if the shard is missing or cut off.
        """
        rows, number = self._rows, self._number
        try:
            offset, length = rows.places[number][role]
        except KeyError:
            raise KeyError(f"pair {self.key} has no image {role!r}, only {', '.join(self.roles)}") from None
        return rows.shards.read(rows.of_pairs("shard")[number], offset, length)

    def image(self, role: str) -> Pixels:
        """An image as upright 8-bit RGB, H x W x 3.

        Raises as `image_bytes` does, and DatasetError if what is stored is no image.
        """
        data = self.image_bytes(role)
        try:
            return decode_rgb(data)
        except Reject as reject:
            raise DatasetError(
                f"{self._rows.url}/shards/{self._rows.of_pairs('shard')[self._number]} is damaged: image {role} of "
                f"pair {self.key}: {reject.message}; {verify_hint(self._rows.url)}"
            ) from None

    def pil(self, role: str) -> PILImage.Image:
        """An image as an upright Pillow image of mode RGB. Raises as `image` does."""
        return PILImage.fromarray(self.image(role))

    def __repr__(self) -> str:
        return f"StoredPair({self.key})"


class Rows:
    """Whole pairs of one manifest: rows that are neighbours, each pair's together. `starts` are their first rows."""

    def __init__(self, table: pa.Table, shards: Shards, url: str, find: Find) -> None:
        self.table = table
        self.shards, self.url, self._find = shards, url, find
        self.starts: list[int] = [*pair_starts(table["pair"]).tolist(), table.num_rows]
        self._columns: dict[str, list[Any]] = {}
        self.keys: list[str] = self.of_pairs("pair")

    def pairs(self) -> list[StoredPair]:
        return [StoredPair(self, number) for number in range(len(self.starts) - 1)]

    def of_pairs(self, column: str) -> list[Any]:
        """A column that is the same for all examples of a pair: one value a pair."""
        if column not in self._columns:
            self._columns[column] = self._first_of_each(column).to_pylist(maps_as_pydicts="lossy")
        return self._columns[column]

    @cached_property
    def places(self) -> Sequence[Mapping[str, tuple[int, int]]]:
        """For each pair the places of its images in the shard, by role: offset and length, bytes."""
        return self._by_role("offset", "bytes")

    @cached_property
    def headers(self) -> Sequence[Mapping[str, tuple[str, int, int]]]:
        """For each pair encoding, width and height of its images, px, by role."""
        return self._by_role("format", "width_px", "height_px")

    def _by_role(self, *names: str) -> list[dict[str, Any]]:
        """For each pair these fields of its images, by role."""
        images = self._first_of_each("images")
        flat = images.flatten()
        roles = flat.field("role").to_pylist()
        found = zip(roles, zip(*(flat.field(name).to_pylist() for name in names), strict=True), strict=True)
        return [
            dict(itertools.islice(found, stop - start))
            for start, stop in itertools.pairwise(images.offsets.to_pylist())
        ]

    def _first_of_each(self, column: str) -> pa.Array:
        values = self.table[column].combine_chunks()
        if len(self.starts) == 2:  # one pair alone: much cheaper than taking it
            return values[:1]
        return values.take(pa.array(self.starts[:-1], pa.int64()))

    @cached_property
    def _examples(self) -> list[tuple[Any, ...]]:
        names = ("direction", "kind", "instruction", "inputs", "output", "text", "contexts")
        return list(zip(*(self.table[name].to_pylist() for name in names), strict=True))

    def example(self, pair: StoredPair, row: int) -> StoredExample:
        """The example in a row, which is one of the pair's."""
        direction, kind, instruction, inputs, output, text, contexts = self._examples[row]
        return StoredExample(
            pair=pair,
            direction=direction,
            kind=kind,
            instruction=instruction,
            inputs=tuple(inputs),
            output=output,
            text=text,
            ranked=tuple(contexts),
            find=self._find,
        )


def pair_starts(keys: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The rows at which a pair begins, of a manifest's column `pair`."""
    names = keys.to_numpy()
    return np.flatnonzero(np.concatenate([[len(names) > 0], names[1:] != names[:-1]]))
