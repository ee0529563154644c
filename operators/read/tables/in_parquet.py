"""Reads the rows of Parquet files as tables of pairs, as the hub and other programs write them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa

from manifests.schema import Reject
from operators.read.columns import listed, top
from operators.read.parquet import IMAGES_AT_ONCE, in_footers, is_damage, open_parquet, read_row
from operators.read.tables.base import Listed, Row

_PATHS_AT_ONCE = 65_536  # rows, of texts


@dataclass(frozen=True, kw_only=True)
class InParquet:
    """The rows of a Parquet file. A row's index is its number."""

    root: str
    path: str

    def names(self) -> Collection[str]:
        return [name for field in open_parquet(self.root, self.path).schema_arrow for name in _names(field)]

    def rows(self, wanted: Collection[str]) -> Iterator[Listed]:
        """Of columns only the paths are read. Raises ValueError too for a column that cannot hold what is wanted."""
        (count,) = in_footers(lambda file: file.metadata.num_rows, self.root, [self.path])
        file = open_parquet(self.root, self.path)
        there = file.schema_arrow
        paths = [name for name in dict.fromkeys(top(name, there.names) for name in wanted) if name in there.names]
        paths = [name for name in paths if holds_texts(there.field(name).type)]
        number = 0
        if paths:
            try:
                for batch in file.iter_batches(_PATHS_AT_ONCE, columns=paths):
                    for row in _rows(batch):
                        yield Listed(name=f"#{number}", index=number, row=row)
                        number += 1
            except (pa.ArrowException, OSError) as error:
                if not is_damage(error):  # else each row of the damaged row group says so when it is read
                    raise
        for rest in range(number, count):
            yield Listed(name=f"#{rest}", index=rest, row={})

    def row(self, index: int, wanted: Collection[str]) -> Row:
        try:
            there = open_parquet(self.root, self.path).schema_arrow
        except FileNotFoundError as error:
            raise Reject("missing", str(error)) from error
        except ValueError as error:
            raise Reject("damaged", str(error)) from error
        tops = tuple(dict.fromkeys(top(name, there.names) for name in wanted))
        kinds = [there.field(name).type for name in tops if name in there.names]
        if not any(map(_has_bytes, kinds)):
            return read_row(self.root, self.path, index, tops, _PATHS_AT_ONCE)
        lists = any(_is_list(kind) and not holds_texts(kind) for kind in kinds)
        return read_row(self.root, self.path, index, tops, 1 if lists else IMAGES_AT_ONCE)

    def has_bytes(self, wanted: Collection[str]) -> bool:
        """Whether one of the columns holds images, and not their paths alone."""
        schema = open_parquet(self.root, self.path).schema_arrow
        tops = {top(name, schema.names) for name in wanted}
        return any(_has_bytes(schema.field(name).type) for name in tops if name in schema.names)


def _rows(batch: pa.RecordBatch) -> Iterator[Row]:
    """The rows of a batch of texts; one whose text is not UTF-8 has no values, and says so when it is read."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for place in range(batch.num_rows):
            try:
                yield batch.slice(place, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield {}


def _names(field: pa.Field, above: str = "") -> Iterator[str]:
    """A column's name, or those of its fields, unless it is an image."""
    name, kind = f"{above}{field.name}", field.type
    if not pa.types.is_struct(kind) or any(kind.get_field_index(one) >= 0 for one in ("bytes", "path")):
        yield name
        return
    for inner in kind:
        yield from _names(inner, f"{name}.")


def refuse_no_images(root: str, path: str, columns: Collection[str]) -> None:
    """Raises ValueError, one line, for a column that is to hold images and cannot by its type."""
    schema = open_parquet(root, path).schema_arrow
    for name in columns:
        if (kind := _kind(schema, name)) and not may_hold_images(kind):
            others = [field.name for field in schema if may_hold_images(field.type) and not holds_texts(field.type)]
            raise ValueError(
                f"DATA: {root}/{path}: its column {name} is {kind}, not images (binary, or struct<bytes, path>) or "
                f"paths of images; of images it has {listed(others)}"
            )


def _kind(schema: pa.Schema, name: str) -> pa.DataType | None:
    """The type of what a column's name stands for, None if there is nothing or it is the place in a list."""
    head = top(name, schema.names)
    kind = schema.field(head).type if head in schema.names else None
    for part in filter(None, name.removeprefix(head).split(".")):
        place = kind.get_field_index(part) if kind is not None and pa.types.is_struct(kind) else -1
        kind = kind.field(place).type if kind is not None and place >= 0 else None
    return kind


def holds_texts(kind: pa.DataType) -> bool:
    """Whether a column's type is text, or a list or struct of texts."""
    if _is_list(kind) or pa.types.is_dictionary(kind):
        return holds_texts(kind.value_type)
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(holds_texts(field.type) for field in kind)
    return any(holds(kind) for holds in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def may_hold_images(kind: pa.DataType) -> bool:
    """Whether a column's type has bytes or paths, lists of them, or no values at all."""
    if _is_list(kind) or pa.types.is_dictionary(kind):
        return may_hold_images(kind.value_type)
    if pa.types.is_struct(kind):
        return any(kind.get_field_index(name) >= 0 for name in ("bytes", "path"))
    of_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)
    return holds_texts(kind) or any(holds(kind) for holds in of_bytes)


def _has_bytes(kind: pa.DataType) -> bool:
    """Whether a column's type has bytes anywhere in it."""
    if _is_list(kind) or pa.types.is_dictionary(kind):
        return _has_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_has_bytes(field.type) for field in kind)
    return any(holds(kind) for holds in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _is_list(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))
