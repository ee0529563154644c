"""Reads the edit datasets that others publish as tables: a row is an edit, or a session of them."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import repeat
from typing import Any, ClassVar, Self

import numpy as np

from manifests.images.pixels import MAX_BYTES, decode_rgb, encode_lossless, read_header, stored
from manifests.schema import Candidate, Item, Pair, Reject, Step, in_a_line, pair_key
from operators.read.columns import MOST_INPUTS, is_url, listed, roles, top
from operators.read.edit_shapes import Part, Shape, Told
from operators.read.files import SourceFile, commonest_ending, ending, list_files, read_file, too_large
from operators.read.photos import together
from operators.read.split import TRAIN, caption_params, places_below
from operators.read.tables.base import Table
from operators.read.tables.in_parquet import InParquet
from operators.read.tables.json_list import JsonList
from operators.read.tables.jsonl import Jsonl

LOST = "published_as_worse"
"""Why the losers of a published preference were not chosen, as far as we know."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Files of one shape, and where the images are that they name."""

    files: str
    """Their path below the root, as a shell pattern whose * is no part of two folders: "data/train-*.parquet"."""
    images: tuple[str, ...] = ("",)
    """Folders below the root that the paths in the files may be relative to; the first that has the image is read.
    {stem} stands for the name of the file without its ending."""


@dataclass(frozen=True, kw_only=True)
class EditRows:
    """The edits of all rows of the `tables`, in order, each stored with its images as they are.

    A root is taken for it if the first file of one of the tables has all columns that its `shape` needs. Images are in
    the rows or beside the file. Paths are looked up in the listing of the root: they lead nowhere else. Of those that
    another machine has written (`foreign_paths`) the longest end that is there counts.

    Pairs of one original picture are a group, by its bytes, and so are the turns of a session; a turn's `parents` is
    the key of the turn before it. What the source says beyond images and words, such as the kind of edit, or which turn
    of which session it is, stands in a step "read". What lost against a target becomes a candidate beside it.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = True
    source: str
    licence: str
    root: str = ""
    tables: tuple[Tables, ...]
    nested: tuple[str, ...] = ("",)
    """Where below a data root the root may be; the first that has a table is read. Without "" it is found by these
    names alone (operators/read/split.py, `places_below`)."""
    shape: Shape
    mixed: bool = False
    """Whether tables of other shapes lie among those that are read, and are passed over; else they are an error."""
    prepared: tuple[str, str] = ("", "")
    """A column that is not published but made by a script of the authors, and how."""
    foreign_paths: bool = False
    only: str = field(default="", metadata={"location": True})
    """A file of the root, or a pattern of names, that is read alone: what is read of it is in the items."""
    split: str = TRAIN

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        """Raises ValueError for tables that lack nothing but what a script of the authors adds."""
        unprepared = ""
        for folder in places_below(root, self.nested):
            above = f"{folder}/" if folder else ""
            inside = [replace(f, path=f.path[len(above) :]) for f in listing if f.path.startswith(above)]
            here = replace(self, root=f"{root.rstrip('/')}/{folder}".rstrip("/"))
            for path, _ in here._tables(inside):
                lacking = here._lacking(path)
                if not lacking:
                    return here
                unprepared = unprepared or (f"{here.root}/{path}" if lacking == [self.prepared[0]] else "")
                if not self.mixed:
                    break
        if unprepared:
            raise ValueError(f"DATA: {unprepared} is of {self.source}, and lacks {': '.join(self.prepared)}")
        return None

    def of_file(self, name: str) -> Self:
        """The reader of one file of a root, or of those that a shell pattern names, if they are files of its tables."""
        return replace(self, only=name)

    def told(self, listing: Sequence[SourceFile]) -> str:
        paths = [path for path, _ in self._tables(listing)]
        mine = [path for path in paths if not self.mixed or not self._lacking(path)]
        names = self._table(mine[0]).names()
        taken = {top(name, names): what for name, what in self.shape.taken.items()}
        read = {top(name, names) for name in self.shape.needs}
        others = [name for name in names if name not in {*taken, *read} and not self.shape.is_turn(name)]
        said = ", ".join(name if name == what else f"{name} as {what}" for name, what in taken.items())
        told = f"it takes {said}" + (f"; not read: {listed(others)}" if others else "")
        left = sorted({*paths} - {*mine})
        return f"{told}; with other columns, and not read: {listed(left, 3)}" if left else told

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        """Raises ValueError, naming the file, for a table without one of the columns that others have."""
        files = {file.path: file for file in listing}
        for path, tables in self._tables(listing):
            if lacking := self._lacking(path):
                if self.mixed:
                    continue
                raise ValueError(
                    f"DATA: {self.root}/{path} lacks {', '.join(lacking)}, which {self.source} has: perhaps it is of "
                    f"another revision of the dataset; it has {listed(self._table(path).names())}"
                )
            stem = posixpath.splitext(posixpath.basename(path))[0]
            folders = tuple(folder.replace("{stem}", stem) for folder in tables.images)
            images = _Images(folders=folders, files=files, foreign=self.foreign_paths)
            beside = self._is_beside(path)
            assert beside or not self.shape.sessions, "how many turns a row has is said without images"
            for row in self._table(path).rows(self.shape.needs if beside else ()):
                ref = f"{path}{row.name}"
                if not beside:
                    yield Item(ref=ref, files=(path,), index=row.index, bytes=files[path].bytes)
                    continue
                edits = _told(self.shape, row.row)
                if not edits:  # which says so when it is read
                    yield Item(ref=ref, files=(path,), index=row.index)
                found = [[images.path(one) for one in edit.images] for edit in edits]
                for turn, own in enumerate(found):
                    of_session = [*found[turn - 1], found[0][0] if found[0] else ""] if turn else []
                    yield Item(
                        ref=f"{ref}.{turn + 1}" if self.shape.sessions else ref,
                        files=(path, *own, *of_session),
                        index=row.index,
                        bytes=sum(files[name].bytes for name in own if name),
                    )

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        """By the names that the first images of the first table have."""
        first = items[0]
        try:
            edit = self._edits(first)[_turn_of(first) if self.shape.sessions else 0]
            before, after = (self._ending(one) for one in (edit.inputs[0] if edit.inputs else None, edit.target))
        except (Reject, IndexError):
            before = after = commonest_ending(())
        return dict.fromkeys(roles(self.shape.most_inputs), before) | {"target": after}

    def read(self, item: Item, task: str) -> Pair:
        edits = self._edits(item)
        turn = _turn_of(item) if self.shape.sessions else 0
        if turn >= len(edits):
            raise Reject("damaged", f"{item.ref}: the row tells of {len(edits)} edits only")
        edit, files = edits[turn], iter(item.files[1:])
        if not edit.inputs:
            raise Reject("no_input", f"{item.ref}: there is no input image")
        if len(edit.inputs) > MOST_INPUTS:
            raise Reject("too_many_inputs", f"it has {len(edit.inputs):,} input images, more than {MOST_INPUTS}")
        _refuse_unencodable([*edit.texts.values(), *edit.params.values()])
        own = self._images(edit, files)
        names = [*roles(len(edit.inputs)), "target"]
        images, steps = together(dict(zip(names, own, strict=False)))
        key = pair_key(task, item.ref, *own[: len(names)])
        original, parents = own[0], tuple[str, ...]()
        if turn:
            original, parents = self._of_session(item, edits, turn, files, task, own[0])
        return Pair(
            key=key,
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=images,
            group=hashlib.sha256(original).hexdigest()[:16],
            texts=edit.texts,
            scores=edit.scores,
            steps=(*self._told(item, edit, turn), *steps),
            parents=parents,
            candidates=self._candidates(key, edit, own[len(names) - 1 :]),
        )

    def _of_session(
        self, item: Item, edits: Sequence[Told], turn: int, files: Iterator[str], task: str, own: bytes
    ) -> tuple[bytes, tuple[str, ...]]:
        """The bytes of a session's first image, and the key of the turn before, if they are there."""
        before = edits[turn - 1]
        try:
            images = self._images(before, files)
            ref = f"{item.ref.rpartition('.')[0]}.{turn}"
            parents: tuple[str, ...] = (pair_key(task, ref, *images[: len(before.inputs) + 1]),)
        except Reject:  # then the turn before is no pair
            parents = ()
        first = next(iter(edits[0].inputs), None)
        try:
            return self._image(first, item.files[-1], "input"), parents
        except Reject:
            return own, parents

    def _told(self, item: Item, edit: Told, turn: int) -> tuple[Step, ...]:
        session = {"session": item.ref.rpartition(".")[0], "turn": turn + 1} if self.shape.sessions else {}
        captions = caption_params(edit.texts) if self.split != TRAIN else {}
        params = {**session, **edit.params, **captions}
        return (Step(operator="read", version=1, params=params),) if params else ()

    def _candidates(self, key: str, edit: Told, images: Sequence[bytes]) -> tuple[Candidate, ...]:
        """The target and what lost against it, where the source has such; `images` are their bytes, the target's first.

        Raises Reject for a loser that is no image.
        """
        if len(images) < 2:
            return ()
        step = Step(operator="read", version=1, params={"source": self.source})
        return tuple(
            Candidate(
                pair=key,
                image=stored("target", data, read_header(data)),
                step=step,
                scores=edit.scores if not place else {},
                reason=LOST if place else None,
                won=not place,
            )
            for place, data in enumerate(images)
        )

    def _edits(self, item: Item) -> Sequence[Told]:
        """Raises Reject, damaged or no_edit."""
        row = self._table(item.files[0]).row(item.index, self.shape.needs)
        if not (edits := _told(self.shape, row)):
            raise Reject("no_edit", f"{item.ref}: the row tells of no edit as {self.source} does")
        return edits

    def _images(self, edit: Told, files: Iterator[str]) -> list[bytes]:
        """The bytes of an edit's images, in order; `files` are their paths where they are beside the table.

        A loser that is not there is left out. Raises Reject: no_input, no_target, and as `read_file` does.
        """
        names = [*["input"] * len(edit.inputs), "target", *["loser"] * len(edit.losers)]
        found: list[bytes] = []
        lost: list[Reject] = []
        for value, name, path in zip(edit.images, names, _or_none(files), strict=False):
            try:
                found.append(self._image(value, path, name))
            except Reject as reject:
                if name != "loser":
                    lost.append(reject)
        if lost:
            raise lost[0]
        return found

    def _image(self, value: Any, path: str, role: str) -> bytes:
        if isinstance(value, Part):
            return _cut(value, self._image(value.whole, path, role))
        data = value.get("bytes") if isinstance(value, Mapping) else value
        if isinstance(data, bytes) and data:
            if len(data) > MAX_BYTES:
                raise too_large(f"its {role}", len(data))
            return data
        if path:
            return read_file(self.root, path)
        raise Reject(f"no_{role}", f"its {role} {_why_not(value)}")

    def _ending(self, value: Any) -> str:
        """The ending of an image by its name, else by its content."""
        if isinstance(value, Part):
            return commonest_ending(())
        name = value.get("path") if isinstance(value, Mapping) else value
        if isinstance(name, str) and ending(name):
            return commonest_ending([name])
        data = value.get("bytes") if isinstance(value, Mapping) else value
        return commonest_ending([f"image.{read_header(data).format}"] if isinstance(data, bytes) else ())

    def _tables(self, listing: Sequence[SourceFile]) -> Iterator[tuple[str, Tables]]:
        """The files that are read, by the order of the tables and then by path."""
        for tables in self.tables:
            for file in listing:
                if _fits(file.path, tables.files) and (not self.only or _fits(file.path, self.only)):
                    yield file.path, tables

    def _table(self, path: str) -> Table:
        kind = ending(path)
        if kind == "parquet":
            return InParquet(root=self.root, path=path)
        return JsonList(root=self.root, path=path) if kind == "json" else Jsonl(root=self.root, path=path)

    def _lacking(self, path: str) -> list[str]:
        names = self._table(path).names()
        return [name for name in dict.fromkeys(top(name, names) for name in self.shape.needs) if name not in names]

    def _is_beside(self, path: str) -> bool:
        """Whether the images are files beside a table: all but those of a Parquet file that has them."""
        table = self._table(path)
        return not (isinstance(table, InParquet) and table.has_bytes(self.shape.needs))


@dataclass(frozen=True, kw_only=True)
class _Images:
    """Finds the files that a table's paths stand for."""

    folders: tuple[str, ...]
    files: Mapping[str, SourceFile]
    foreign: bool

    def path(self, value: Any) -> str:
        """The path below the root of the image that a value names, "" if there is none."""
        value = value.get("path") if isinstance(value, Mapping) else value
        if not isinstance(value, str) or is_url(value):
            return ""
        parts = [part for part in value.split("/") if part not in ("", ".")]
        starts = range(len(parts)) if self.foreign else (0,) if not value.startswith("/") else ()
        for start in starts:
            name = "/".join(parts[start:])
            for folder in self.folders:
                if (found := posixpath.join(folder, name)) in self.files:
                    return found
        return ""


def _told(shape: Shape, row: Mapping[str, Any]) -> Sequence[Told]:
    """The edits of a row; none of one whose values are of other kinds than the dataset's are."""
    try:
        return shape.told(row)
    except (TypeError, ValueError, AttributeError, LookupError):
        return ()


def _refuse_unencodable(values: Iterable[Any]) -> None:
    """Raises Reject for a text that no file can hold."""
    for value in values:
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise Reject("unencodable", f"a text holds half of a surrogate pair: {in_a_line(value, 80)!a}") from None


def _turn_of(item: Item) -> int:
    """The place of an item's edit in its row, counted from 0."""
    return int(item.ref.rpartition(".")[2]) - 1


def _fits(path: str, pattern: str) -> bool:
    """Whether a path fits a pattern, folder by folder."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _or_none(paths: Iterator[str]) -> Iterator[str]:
    """The paths, and then no path for ever."""
    yield from paths
    yield from repeat("")


def _cut(part: Part, whole: bytes) -> bytes:
    """A rectangle of an image, as a lossless file. Raises Reject: other_size, and as `decode_rgb` does."""
    pixels = decode_rgb(whole)
    height_px, width_px = pixels.shape[:2]
    if (width_px, height_px) != part.size_px:
        wanted = "{} x {} px".format(*part.size_px)
        raise Reject(
            "other_size", f"the image of both has {width_px} x {height_px} px, not {wanted}, by which it is cut"
        )
    left, top_px, right, bottom = part.box_px
    return encode_lossless("input", np.ascontiguousarray(pixels[top_px:bottom, left:right])).data


def _why_not(value: Any) -> str:
    """What an image's value says that is no image, in words."""
    name = value.get("path") if isinstance(value, Mapping) else value
    if isinstance(name, str) and name:
        shown = in_a_line(name, 200).encode("utf-8", "backslashreplace").decode()
        return f"is a URL, {shown}: img2dataset downloads such columns" if is_url(name) else f"is not there: {shown}"
    return "is null" if not name else f"is no image but {type(name).__name__}"
