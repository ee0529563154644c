"""Reads edit datasets as the Hugging Face hub holds them: Parquet files with images inside (UltraEdit, MagicBrush)."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import ClassVar, Self

import pyarrow as pa

from manifests.images.pixels import MAX_BYTES, read_header
from manifests.parquet import ParquetFile
from manifests.schema import Item, Pair, Reject, Step, pair_key
from operators.read.files import SourceFile, commonest_ending, list_files, too_large
from operators.read.parquet import (
    IMAGES_AT_ONCE,
    as_name,
    as_number,
    as_text,
    in_footers,
    open_parquet,
    read_row,
    told_of_columns,
)
from operators.read.photos import together
from operators.read.split import TRAIN, caption_params

_NUMBERED = re.compile(r"(?P<split>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})[^/]*")


@dataclass(frozen=True, kw_only=True)
class HubParquet:
    """A row is a pair: two image columns, struct<bytes, path>, whose bytes are stored as they are.

    Columns are looked up by name in each file: splits of one dataset differ in the type of columns without values.
    Files that other programs saved anew may hold images as structs without a path or as plain binary values, and
    scores, turns, sessions and texts in any type that says the same.
    With `session` and `turn`, rows are the turns of editing sessions: each session's turns are listed together and in
    order, and a turn's `parents` is the key of the turn before it, where that lies in the same file; at the border of
    two files it is left empty, since finding it would mean to read another file.

    A pair of a test split has a step "read" that says which turn of which session it is, and the captions before and
    after the edit where the texts have them, for evaluation.
    """

    version: ClassVar[int] = 2
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = True
    source: str
    licence: str
    root: str = ""
    files: str
    """Names of the files, as a shell pattern: "train-*.parquet"."""
    nested: tuple[str, ...] = ("", "data")
    """Where below a data root the files may be; the first that has some is read."""
    input: str
    target: str
    """Columns of the two images."""
    texts: tuple[tuple[str, str], ...]
    """Name in a pair's texts, and column."""
    scores: tuple[str, ...] = ()
    session: str = ""
    """Column that names the original image; "" if there is none: then equal input bytes make a group."""
    turn: str = ""
    """Column that counts a session's turns from 1."""
    split: str = TRAIN
    """What the dataset is read for: TRAIN, or the name of a test split (operators/read/split.py)."""

    @property
    def _images(self) -> Mapping[str, str]:
        """The column of each role."""
        return {"input": self.input, "target": self.target}

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        for folder in self.nested:
            if any(self._is_mine(file.path, folder) for file in listing):
                return replace(self, root=f"{root.rstrip('/')}/{folder}".rstrip("/"))
        return None

    def _is_mine(self, path: str, folder: str = "") -> bool:
        parent, name = posixpath.split(path)
        return parent == folder and fnmatchcase(name, self.files)

    def told(self, listing: Sequence[SourceFile]) -> str:
        first = next(file.path for file in listing if self._is_mine(file.path))
        taken = {column: role for role, column in self._images.items()} | {column: name for name, column in self.texts}
        told = told_of_columns(open_parquet(self.root, first), taken, (*self.scores, self.session, self.turn))
        others = [file.path for file in listing if file.path.endswith(".parquet") and not self._is_mine(file.path)]
        return f"{told}; other Parquet files, not read: {len(others):,} (as {others[0]})" if others else told

    def missing(self, listing: Sequence[SourceFile]) -> list[str]:
        """The files that are not there though others say in their names ("-00003-of-00051") that they exist."""
        numbers: dict[tuple[str, str], set[int]] = {}
        for file in listing:
            if self._is_mine(file.path) and (found := _NUMBERED.fullmatch(file.path)):
                numbers.setdefault((found["split"], found["count"]), set()).add(int(found["number"]))
        return [
            f"{split}-{number:05d}-of-{count}"
            for (split, count), there in sorted(numbers.items())
            for number in range(int(count))
            if number not in there
        ]

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        files = [file for file in listing if self._is_mine(file.path)]
        rows = in_footers(self._rows, self.root, [file.path for file in files])
        items = (
            (Item(ref=f"{file.path}#{index}", files=(file.path,), index=index, bytes=file.bytes), session, turn)
            for file, in_file in zip(files, rows, strict=True)
            for index, (session, turn) in enumerate(in_file)
        )
        if not self.session:
            yield from (item for item, _, _ in items)
            return
        by_session: dict[str, list[tuple[int, Item]]] = {}
        for item, session, turn in items:
            by_session.setdefault(session or f"\0{item.ref}", []).append((turn, item))
        for turns in by_session.values():
            turns.sort(key=lambda entry: entry[0])
            yield from (item for _, item in turns)

    def _rows(self, file: ParquetFile) -> Sequence[tuple[str, int]]:
        """Session and turn of each row of a file. Raises ValueError if it lacks a column, or has no images in one."""
        schema = file.schema_arrow
        instruction = dict(self.texts).get("instruction", "")
        lacking = {self.input, self.target, self.session, self.turn, instruction} - {"", *schema.names}
        if lacking:
            raise ValueError(
                f"{self.source} needs the columns {', '.join(sorted(lacking))}; there are {', '.join(schema.names)}: "
                "perhaps another revision of the dataset"
            )
        for name in (self.input, self.target):
            if not _may_hold_images(kind := schema.field(name).type):
                raise ValueError(f"its column {name} is {kind}, not struct<bytes: binary, path: string> or binary")
        if not self.session:
            return [("", 0)] * file.metadata.num_rows
        return _sessions(file, self.session, self.turn)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        # By the names that the files had before they went into the Parquet file; the hub's Image feature keeps them.
        return {"input": self._ending(items[0], self.input), "target": self._ending(items[0], self.target)}

    def _ending(self, item: Item, column: str) -> str:
        file = open_parquet(self.root, item.files[0])
        kind = file.schema_arrow.field(column).type
        if not (pa.types.is_struct(kind) and kind.get_field_index("path") >= 0):
            return self._format(item, column)
        counts = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
        first = next(group for group, rows in enumerate(counts) if rows)
        paths = file.read_row_group(first, columns=[f"{column}.path"])
        return commonest_ending(value["path"] or "" for value in paths.column(column).to_pylist() if value)

    def _format(self, item: Item, column: str) -> str:
        """The ending of an item's image by its content, "png" if that says none."""
        try:
            image = read_row(self.root, item.files[0], item.index, (column,), IMAGES_AT_ONCE)[column]
            return commonest_ending([f"image.{read_header(_bytes(image, column)).format}"])
        except Reject:
            return commonest_ending(())

    def read(self, item: Item, task: str) -> Pair:
        return self._pair(item, task)[0]

    def _pair(self, item: Item, task: str) -> tuple[Pair, bytes, Mapping[str, object]]:
        """The pair of an item, the bytes of its input as the row has them, and the row's other values."""
        path = item.files[0]
        before, after, row = self._row(path, item.index)
        images, steps = together({"input": before, "target": after})
        texts = {name: text for name, column in self.texts if (text := as_text(row.get(column)))}
        scores = {name: score for name in self.scores if (score := as_number(row.get(name))) is not None}
        session = as_name(row[self.session]) if self.session else ""
        pair = Pair(
            key=pair_key(task, item.ref, before, after),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=images,
            group=session or hashlib.sha256(before).hexdigest()[:16],
            texts=texts,
            scores=scores,
            steps=(*self._told(row, texts), *steps),
            parents=self._parents(path, row, task) if self.turn else (),
        )
        return pair, before, row

    def _told(self, row: Mapping[str, object], texts: Mapping[str, str]) -> tuple[Step, ...]:
        """What an evaluation needs to know of a pair of a test split, as a step, which the manifest keeps."""
        if self.split == TRAIN:
            return ()
        turn = {"session": as_name(row[self.session]), "turn": _turn(row[self.turn])} if self.turn else {}
        return (Step(operator="read", version=1, params=turn | caption_params(texts)),)

    def _row(self, path: str, index: int) -> tuple[bytes, bytes, dict[str, object]]:
        """Input and target bytes of a row, and its other values.

        Raises Reject: no_input, no_target, missing, damaged, too_large.
        """
        others = (*(column for _, column in self.texts), *self.scores, self.session, self.turn)
        row = read_row(self.root, path, index, (*self._images.values(), *filter(None, others)), IMAGES_AT_ONCE)
        before, after = (_bytes(row.pop(side), role) for side, role in ((self.input, "input"), (self.target, "target")))
        return before, after, row

    def _parents(self, path: str, row: Mapping[str, object], task: str) -> tuple[str, ...]:
        session, turn = as_name(row[self.session]), _turn(row[self.turn])
        index = _turns(self.root, path, self.session, self.turn).get((session, turn - 1)) if session and turn else None
        if index is None:
            return ()
        try:
            before, after, _ = self._row(path, index)
        except Reject:  # then the turn before is no pair
            return ()
        return (pair_key(task, f"{path}#{index}", before, after),)


def _may_hold_images(kind: pa.DataType) -> bool:
    """Whether a column's type has bytes; or no values at all, as that of a column that is empty in this file."""
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _may_hold_images(kind.field(place).type)
    if pa.types.is_dictionary(kind):
        return _may_hold_images(kind.value_type)
    of_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)
    return any(holds(kind) for holds in of_bytes)


def _bytes(value: object, role: str) -> bytes:
    data = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(data, bytes) and len(data) > MAX_BYTES:
        raise too_large(f"its {role}", len(data))
    if isinstance(data, bytes) and data:
        return data
    outside = value.get("path") if isinstance(value, dict) else None
    raise Reject(f"no_{role}", f"its {role} is {f'a path, {outside}, without bytes' if outside else 'null'}")


def _turn(value: object) -> int:
    """A turn, counted from 1; 0 for what is no whole number."""
    number = as_number(value)
    return int(number) if number is not None and number == int(number) else 0


def _sessions(file: ParquetFile, session: str, turn: str) -> list[tuple[str, int]]:
    """Session and turn of each row."""
    table: pa.Table = file.read(columns=[session, turn])
    values = zip(table.column(session).to_pylist(), table.column(turn).to_pylist(), strict=True)
    return [(as_name(name), _turn(number)) for name, number in values]


@lru_cache(maxsize=4)
def _turns(root: str, path: str, session: str, turn: str) -> dict[tuple[str, int], int]:
    """The row of each turn of a file."""
    rows = _sessions(open_parquet(root, path), session, turn)
    return {key: index for index, key in enumerate(rows)}
