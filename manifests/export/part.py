"""What formats write a part into: files, lines of indices, Parquet tables; and what is recorded of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.export.columns import table_of
from manifests.export.folder import Folder, lines_name
from manifests.export.sample import Picture
from manifests.licences.effective import Parents
from manifests.schema import DatasetError, canonical_json

ROW_GROUP_BYTES = 64 * 2**20
"""Image bytes after which a row group of an exported table ends: what a reader has in memory of each file."""

_ROW_GROUP_ROWS = 1_000


class PartWriter:
    """`with PartWriter(...) as part: format.write(samples, part)`: what was opened is whole when the block ends, and
    gone if it raises. The part counts as finished once `record` was written by whoever opened it."""

    def __init__(self, folder: Folder, number: int, of: int) -> None:
        self.number, self.of = number, of
        self._folder = folder
        self._open = ExitStack()
        self._indices: dict[str, BinaryIO] = {}
        self.files: dict[str, int] = {}
        """Sizes in bytes of what was written, by path."""
        self.left_off: Counter[str] = Counter()
        """What the format had no place for, by what it is."""
        self.lines: dict[str, int] = {}
        """Sizes in bytes of the lines of its indices, by path; known when the block has ended."""
        self._pictures: dict[str, str] = {}
        """Paths of pictures by stem."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self._folder.drop()
        self.lines = {lines_name(self.number, index): file.tell() for index, file in self._indices.items()}
        self._open.__exit__(kind, error, tb)
        self._folder.wait()

    def picture(self, stem: str, picture: Picture) -> str:
        """See `Part.picture`."""
        if stem not in self._pictures:
            file = picture.file()
            path = self._pictures[stem] = f"{stem}.{file.ending}"
            self._check(path)
            if not self._folder.is_there(path, len(file.data)):
                self._folder.write_soon(path, file.data)
            self.files[path] = len(file.data)
        return self._pictures[stem]

    def text(self, path: str, text: str) -> None:
        """See `Part.text`."""
        self._check(path)
        if path in self.files:
            raise DatasetError(f"two examples are to be called {path}: a pair is twice in a dataset; verify lists it")
        data = text.encode()
        self._folder.write_soon(path, data)
        self.files[path] = len(data)

    def line(self, index: str, value: Any) -> None:
        """See `Part.line`."""
        if index not in self._indices:
            writing = self._folder.writing(lines_name(self.number, index), synced=False)
            self._indices[index] = self._open.enter_context(writing)
        self._indices[index].write(canonical_json(value).encode() + b"\n")

    def leave_off(self, what: str) -> None:
        """See `Part.leave_off`."""
        self.left_off[what] += 1

    def table(self, path: str, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> int:
        """See `Part.table`."""
        self._check(path)
        groups = 0
        big, small = _leaves(schema)
        with self._folder.writing(path, synced=False) as file:
            with (
                pa.OSFile(file.name, "wb") as sink,  # a file of Python would be given a copy of each page
                pq.ParquetWriter(
                    sink,
                    schema,
                    compression={**dict.fromkeys(big, "none"), **dict.fromkeys(small, "zstd")},
                    use_dictionary=small,
                    write_statistics=small,
                ) as writer,
                ThreadPoolExecutor(1) as background,
            ):
                writing: Future[None] | None = None
                for group in _groups(rows):
                    table = table_of(group, schema)
                    if writing is not None:
                        writing.result()
                    writing = background.submit(writer.write_table, table, row_group_size=len(group))
                    groups += 1
                if writing is not None:
                    writing.result()
            self.files[path] = os.stat(file.name).st_size
        return groups

    def _check(self, path: str) -> None:
        """Raises DatasetError for a path out of the export: a stranger may have named a manifest's pairs and roles."""
        parts = path.split("/")
        if any(not part or part.startswith(".") for part in parts) or "\0" in path or "\\" in path:
            raise DatasetError(f"a manifest names what would be the file {path!r}: it was edited; verify lists where")


def _leaves(schema: pa.Schema) -> tuple[list[str], list[str]]:
    """The columns of a Parquet file, by their dotted paths: those of image bytes, and all others."""
    big: list[str] = []
    small: list[str] = []

    def walk(kind: pa.DataType, path: str) -> None:
        if pa.types.is_struct(kind):
            for number in range(kind.num_fields):
                walk(kind.field(number).type, f"{path}.{kind.field(number).name}")
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            walk(kind.value_type, f"{path}.list.element")
        else:
            (big if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else small).append(path)

    for field in schema:
        walk(field.type, field.name)
    return big, small


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows until their images have ROW_GROUP_BYTES, again and again."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += _bytes_in(row)
        if size >= ROW_GROUP_BYTES or len(group) >= _ROW_GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _bytes_in(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_bytes_in, value.values()))
    return sum(map(_bytes_in, value)) if isinstance(value, list) else 0


class Counts:
    """What was exported, and what of it could not be carried; of a part, or of all."""

    def __init__(self) -> None:
        self.examples = 0
        self.without: Counter[str] = Counter()
        """What samples have and the format has no place for, by what it is."""
        self.converted: Counter[str] = Counter()
        """Pictures that are no longer in their stored bytes, by the reason."""
        self.licences: Counter[tuple[str, str, str]] = Counter()
        """Samples by licence, source and whether they are an example or the context of one."""
        self.parents: set[Parents] = set()
        """The licences that they are under, those of the models that made something of them too."""

    def as_json(self) -> dict[str, Any]:
        return {
            "examples": self.examples,
            "without": dict(sorted(self.without.items())),
            "converted": dict(sorted(self.converted.items())),
            "licences": [[*key, count] for key, count in sorted(self.licences.items())],
            "parents": sorted([[*one.material], [*one.makers]] for one in self.parents),
        }

    def add(self, record: dict[str, Any]) -> None:
        """Add those of a part, as they were recorded."""
        self.examples += record["examples"]
        self.without.update(record["without"])
        self.converted.update(record["converted"])
        for licence, source, what, count in record["licences"]:
            self.licences[licence, source, what] += count
        self.parents |= {Parents(material=(*material,), makers=(*made,)) for material, made in record["parents"]}
