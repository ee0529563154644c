"""Reads pairs from tables, whatever their columns are called: JSON, CSV, Parquet, tars, downloads."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain, islice
from typing import Any, ClassVar, Self

from manifests.images.pixels import MAX_BYTES, decode_rgb, encode_lossless, orientation, read_header, stored
from manifests.schema import MASK, Image, Item, Pair, Reject, Step, in_a_line, pair_key
from operators.arrange.grid import turn_onto, turned
from operators.option import option
from operators.read.columns import (
    INPUT,
    MOST_INPUTS,
    Columns,
    is_among,
    is_url,
    listed,
    refuse_unknown,
    roles,
    value_of,
)
from operators.read.files import (
    SourceFile,
    commonest_ending,
    ending,
    list_files,
    on_disk,
    read_file,
    store_of,
    too_large,
)
from operators.read.img2dataset import finished_shards
from operators.read.parquet import as_name, as_number
from operators.read.parquet import as_text as text_of
from operators.read.photos import together
from operators.read.split import TRAIN
from operators.read.tables.base import Row, Table
from operators.read.tables.downloads import Downloads
from operators.read.tables.in_parquet import InParquet, refuse_no_images
from operators.read.tables.json_list import JsonList, is_json_list
from operators.read.tables.jsonl import Jsonl
from operators.read.tables.separated import Separated
from operators.read.tables.tars import InTar

FORMATS: Mapping[str, type[Jsonl] | type[Separated] | type[InParquet] | type[InTar]] = {
    "jsonl": Jsonl,
    "ndjson": Jsonl,
    "json": Jsonl,
    "csv": Separated,
    "tsv": Separated,
    "parquet": InParquet,
    "tar": InTar,
}
"""Formats by the endings of their files; a .json file may be one list too."""

UNKNOWN = "unknown"
"""The licence of what says none: that nobody has said what it is, is said."""

_NOT_TRAINED_ON = frozenset(["test", "tests", "testing", "val", "valid", "validation", "dev", "eval", "evaluation"])
"""First words of files, and folders, by which the hub and others tell what is to test with."""


@dataclass(frozen=True, kw_only=True)
class ColumnPairs:
    """A row is a pair, of the columns that a map names (operators/read/columns.py); images are stored as they are.

    Images may be bytes, structs of bytes and path, or paths beside the table's file, none of which may lead out of the
    data root; what is behind a URL is not fetched. A row that lacks an image or its instruction, or whose image cannot
    be read, is rejected. A mask turns with its input where EXIF turns that. Scores are read where they are numbers.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = True
    source: str
    licence: str
    """The licence of rows that say none."""
    root: str = ""
    columns: Columns | None
    """What the columns are taken for; None if nobody has said."""
    # What the two choose is in a dataset's fingerprint by the items themselves.
    files: tuple[str, ...] = field(default=("*",), metadata={"location": True})
    """Paths below the data root of the files that are read, as shell patterns, in which * stands for / too:
    ("data/train-*.parquet",). To train on, files to test with are left out, unless they are named in full."""
    also: tuple[str, ...] = field(default=(), metadata={"location": True})
    """Further columns that a published layout has in full, by which it is recognised."""
    images_in: str = ""
    """The folder below the data root from which paths of images start; "" for that of the table's file."""
    scores: tuple[str, ...] = ()
    split: str = TRAIN
    """What the dataset is read for: TRAIN, or the name of a test split (operators/read/split.py)."""

    @property
    def licensed_by_item(self) -> bool:
        return bool(self.columns and self.columns.licence)

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        """This reader bound to a root whose first file has all the columns that are named, else None."""
        here = replace(self, root=root)
        if self.columns is None:
            return None
        try:
            if not (files := here.tables(listing)):
                return None
            names = here.table(files[0].path).names()
            refuse_unknown((*self.columns.taken, *self.also, *self.scores), names, "")
        except ValueError:
            return None
        return here

    def tables(self, listing: Sequence[SourceFile]) -> list[SourceFile]:
        """The files with rows. Raises ValueError, one line, for files of several formats.

        Of what img2dataset has downloaded they are the lists of the first input's images.
        """
        if lists := self._downloads(listing):
            return lists
        files = [file for file in listing if file.path in self.files]
        if not files:
            files = [file for file in listing if self._is_mine(file.path)]
        kinds = {FORMATS[ending(file.path)]: file.path for file in files}
        if len(kinds) > 1:
            raise ValueError(
                f"DATA: {self.root} holds tables of several formats, {' and '.join(sorted(kinds.values()))}: point "
                "DATA at one file, or at a pattern of names in quotes, '*.jsonl'"
            )
        return files

    def _is_mine(self, path: str) -> bool:
        return self._is_table(path) and (self.split != TRAIN or not is_tested_on(path))

    def _is_table(self, path: str) -> bool:
        kind = ending(path)
        fitting = [one for one in self.files if kind in FORMATS and fnmatchcase(path, one)]
        return any(kind != "json" or one.endswith(".json") for one in fitting)  # which may be anything unless named

    def _downloads(self, listing: Sequence[SourceFile]) -> list[SourceFile]:
        """The lists in the folder of the first input, if each column of images is a folder that img2dataset has written
        to."""
        if self.columns is None:
            return []
        folders = self.columns.images
        shards = finished_shards([file for file in listing if file.path.startswith(tuple(f"{f}/" for f in folders))])
        if not {posixpath.dirname(stem) for stem in shards} >= {*folders}:
            return []
        return [file for file in listing if file.path.removesuffix(".parquet") in shards and _in(file, folders[0])]

    def table(self, path: str) -> Table:
        """The rows of a file."""
        if self.columns and path.startswith(f"{self.columns.input[0]}/") and path.endswith(".parquet"):
            return Downloads(root=self.root, path=path, folders=self.columns.images)
        if ending(path) == "json" and self._is_list(path):
            return JsonList(root=self.root, path=path)
        return FORMATS[ending(path)](root=self.root, path=path)

    def _is_list(self, path: str) -> bool:
        try:
            return is_json_list(self.root, path)
        except FileNotFoundError:  # of which each row is told when it is read
            return False

    def left_out(self, listing: Sequence[SourceFile]) -> Mapping[str, int]:
        """How many rows are no items, by reason: of what img2dataset has downloaded, those of which an image failed."""
        counts: Counter[str] = Counter()
        for file in self.tables(listing):
            if isinstance(table := self.table(file.path), Downloads):
                counts += table.left_out()
        return counts

    def told(self, listing: Sequence[SourceFile]) -> str:
        files, columns = self.tables(listing), self._columns()
        names = self.table(files[0].path).names()
        taken = [f"{name} as {what}" for name, what in columns.taken.items()]
        unread = [name for name in names if not any(is_among(one, [name]) for one in (*columns.taken, *self.scores))]
        parts = [f"{len(files):,} files of rows" if len(files) > 1 else files[0].path, f"it takes {', '.join(taken)}"]
        if unread:
            parts.append(f"not read: {listed(unread)}")
        left_out = {file.path for file in listing if ending(file.path) in FORMATS and is_tested_on(file.path)}
        if left_out := left_out - {file.path for file in files}:
            parts.append(f"left out, to test with: {listed(sorted(left_out), 3)}")
        if not columns.licence or self.licence != UNKNOWN:
            parts.append(f"licence{' of rows that say none' if columns.licence else ''}: {self.licence}")
        return "; ".join(parts)

    def _columns(self) -> Columns:
        assert self.columns, "a reader that was located has its columns"
        return self.columns

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        """Raises ValueError, one line, for a column that no row has, or one of images that holds URLs."""
        columns = self._columns()
        wanted = [*columns.taken, *self.scores]
        sizes = {file.path: file.bytes for file in listing}
        found, first = set[str](), True
        for file in (files := self.tables(listing)):
            table = self.table(file.path)
            if isinstance(table, InParquet):
                refuse_unknown(columns.taken, table.names(), f"DATA: {self.root}/{file.path}")
                refuse_no_images(self.root, file.path, columns.images)
            for one in table.rows(wanted):
                if one.row:
                    found |= {name for name in wanted if name not in found and value_of(one.row, name) is not None}
                    if first:
                        self._refuse_urls(file.path, one.row)
                        first = False
                paths = tuple(self._paths(file.path, one.row))
                size = file.bytes + sum(sizes.get(path, 0) for path in (*one.files, *paths))
                yield Item(
                    ref=f"{file.path}{one.name}", files=(file.path, *one.files, *paths), index=one.index, bytes=size
                )
        if files and not isinstance(self.table(files[0].path), InParquet):
            there = dict.fromkeys(chain(self.table(files[0].path).names(), found))
            refuse_unknown(columns.taken, there, f"DATA: {self.root}/{files[0].path}")

    def _paths(self, table: str, row: Row) -> Iterator[str]:
        """The files that a row names as images, as far as they may be read."""
        for name in self._columns().images:
            for value in _each(value_of(row, name)):
                path = value.get("path") if isinstance(value, Mapping) and not value.get("bytes") else value
                if isinstance(path, str):
                    try:
                        yield self._joined(table, path)
                    except Reject:  # of which the row is told when it is read
                        continue

    def _refuse_urls(self, table: str, row: Row) -> None:
        """Raises ValueError, one line with the way out, if an image of a row is behind a URL."""
        for name in self._columns().images:
            for value in _each(value_of(row, name)):
                path = value.get("path") if isinstance(value, Mapping) else value
                if isinstance(path, str) and is_url(path):
                    file, kind = posixpath.basename(table), ending(table).replace("ndjson", "jsonl")
                    raise ValueError(
                        f"DATA: the column {name} of {self.root}/{table} holds URLs ({in_a_line(path, 120)}), which "
                        f"are not fetched: download each such column by img2dataset --url_list {file} --input_format "
                        f"{kind} --url_col {name} --output_format webdataset --output_folder images/{name} "
                        "--disable_all_reencoding True --save_additional_columns "
                        f"'[\"{self._columns().instruction}\"]', and point DATA at images/"
                    )

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        # By the first rows that can be read. What is stored under another ending is read by its content all the same.
        names: dict[str, list[str]] = {}
        for item in islice(items, _LOOKED_AT):
            try:
                for role, (data, name) in self._images(item, self._row(item)).items():
                    kind = ending(name) or ending(f"image.{read_header(data).format}")
                    names.setdefault(role, []).append(f"image.{kind}")
            except Reject:
                continue
        endings = {role: commonest_ending(of_role) for role, of_role in names.items()}
        first = endings.get(INPUT, commonest_ending(()))
        return {"target": first, **dict.fromkeys(roles(MOST_INPUTS), first), **endings}

    def read(self, item: Item, task: str) -> Pair:
        columns, row = self._columns(), self._row(item)
        contents = {role: data for role, (data, _) in self._images(item, row).items()}
        texts = {}
        for name in ("instruction", "reverse", "caption"):
            if column := getattr(columns, name):
                value = value_of(row, column)
                texts[name] = _text(value[0] if isinstance(value, list) and value else value, column)
        if not texts["instruction"]:
            raise Reject("no_instruction", f"its {columns.instruction} {_what(value_of(row, columns.instruction))}")
        images, steps = together({role: data for role, data in contents.items() if role != MASK})
        if MASK in contents:
            mask, step = _mask_on(contents[INPUT], contents[MASK])
            images, steps = (*images, mask), (*steps, *step)
        group = _name(value_of(row, columns.group), columns.group) if columns.group else ""
        licence = _name(value_of(row, columns.licence), columns.licence) if columns.licence else ""
        values = {name: as_number(value_of(row, name)) for name in self.scores}
        return Pair(
            key=pair_key(task, item.ref, *contents.values()),
            source=self.source,
            source_ref=item.ref,
            licence=licence or self.licence,
            images=images,
            group=group or hashlib.sha256(contents[INPUT]).hexdigest()[:16],
            texts={name: text for name, text in texts.items() if text},
            scores={name: score for name, score in values.items() if score is not None},
            steps=steps,
        )

    def _row(self, item: Item) -> Row:
        return self.table(item.files[0]).row(item.index, (*self._columns().taken, *self.scores))

    def _images(self, item: Item, row: Row) -> dict[str, tuple[bytes, str]]:
        """The bytes of each image of a row by its role, and the name of its file, "" if it has none."""
        columns = self._columns()
        inputs = [(name, value) for name in columns.input for value in _each(value_of(row, name)) or [None]]
        if len(inputs) > MOST_INPUTS:
            raise Reject("too_many_inputs", f"it has {len(inputs):,} input images, more than {MOST_INPUTS}")
        named = [
            *((role, *value) for role, value in zip(roles(len(inputs)), inputs, strict=True)),
            ("target", columns.target, value_of(row, columns.target)),
        ]
        if columns.mask and value_of(row, columns.mask) not in (None, "", b""):
            named.append((MASK, columns.mask, value_of(row, columns.mask)))
        return {role: self._image(item.files[0], role, name, value) for role, name, value in named}

    def _image(self, table: str, role: str, name: str, value: Any) -> tuple[bytes, str]:
        """The bytes of an image, and the name of its file. Raises Reject for what is none, or may not be read."""
        path = ""
        if isinstance(value, Mapping):
            path, value = str(value.get("path") or ""), value.get("bytes")
        if isinstance(value, str):
            path, value = value, None
        if isinstance(value, bytes) and value:
            if len(value) > MAX_BYTES:
                raise too_large(f"its {role}", len(value))
            return value, path
        if path.strip() and not value:
            return read_file(self.root, self._beside(table, path)), path
        missing = "no_input" if role.startswith(INPUT) else f"no_{role}"
        if value is None or value in ("", b""):
            raise Reject(missing, f"its {name}, the {role}, has no value")
        raise Reject("wrong_type", f"its {name}, the {role}, {_what(value)}, and neither bytes nor a path")

    def _beside(self, table: str, path: str) -> str:
        """The path below the data root of an image that a table names. Raises Reject: url, outside, unencodable."""
        found = self._joined(table, path)
        if not _is_inside(self.root, found):
            raise Reject("outside", f"{in_a_line(path, 200)} is a link that leads out of {self.root}")
        return found

    def _joined(self, table: str, path: str) -> str:
        """The same by the names alone, wherever links may lead."""
        shown = in_a_line(path, 200)
        if is_url(path):
            raise Reject("url", f"{shown} is behind a URL, which is not fetched: img2dataset downloads such columns")
        if path.startswith(("/", "~")) or _DRIVE.match(path) or "\0" in path or ".." in re.split(r"[/\\]", path):
            raise Reject("outside", f"{shown}: only paths beside the table's file are read, and none with .. in it")
        try:
            path.encode()
        except UnicodeEncodeError:
            raise Reject("unencodable", f"a path holds half of a surrogate pair: {shown!a}") from None
        return posixpath.normpath(posixpath.join(self.images_in or posixpath.dirname(table), path))


@dataclass(frozen=True, kw_only=True)
class OwnPairs(ColumnPairs):
    """Pairs of the user's own, who says what the columns are."""

    source: str = "own pairs"
    columns: Columns | None = option(
        None,
        "what the columns of DATA are: input=a,b target=c instruction=d, and reverse, caption, mask, group, licence",
        type=str,
        many=True,
        of=Columns.of,
        says_what=True,
    )
    licence: str = option(UNKNOWN, "licence of the rows that say none", says_what=True)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        """This reader bound to a root that has tables.

        Raises ValueError, one line with the columns that are there, where nobody has said what they are.
        """
        here = replace(self, root=root)
        shards = [posixpath.dirname(stem) for stem in finished_shards(listing)]
        if shards and not here._downloads(listing):
            folders = sorted({*filter(None, shards)})
            raise ValueError(
                f"DATA: {root} is what img2dataset has downloaded, in {listed(folders)}, which has one image a row: "
                "have a folder of its name for each column of images, from one list of URLs, and name those, as in "
                f"{_example(folders)}"
            )
        if not (files := here.tables(listing)):
            if tests := [file.path for file in listing if here._is_table(file.path)]:
                raise ValueError(
                    f"DATA: {root} holds tables to test with alone, {listed(tests, 3)}, which are not trained on: name "
                    f"the file to read it all the same, as by --data {root}/{tests[0]}"
                )
            return None
        names = here.table(files[0].path).names()
        if self.columns is None:
            raise ValueError(
                f"DATA: {root}/{files[0].path} has the columns {listed(names)}, which are those of no dataset that is "
                f"known here: say what they are, as in {_example(names)}"
            )
        return here

    def of_file(self, name: str) -> Self:
        """The reader of one file of a root, or of those that a shell pattern names."""
        return replace(self, files=(name,))


_LOOKED_AT = 8  # rows by which the endings of images are told
_DRIVE = re.compile(r"[A-Za-z]:[/\\]|\\\\")


def is_tested_on(path: str) -> bool:
    """Whether a file is to test with, by its first word or a folder that it is in: test-00000-of-00001.parquet."""
    folder, name = posixpath.split(path.lower())
    return bool(_NOT_TRAINED_ON & {*folder.split("/"), re.split(r"[-_.]", name)[0]})


def _example(names: Collection[str]) -> str:
    """An option as a user may write it, of columns that are there as far as their names say what they may be."""
    left = [*names]
    said = []
    for role, words in _SOUND_LIKE.items():
        alike = [name for name in left if any(word in name.lower() for word in words)]
        if role != "instruction":  # names like "input_image" rather than "input", which may be a caption
            alike.sort(key=lambda name: not any(word in name.lower() for word in _OF_IMAGES))
        found = next(iter(alike), "")
        if found:
            left.remove(found)
        said.append(f"{role}={found or words[0].upper()}")
    return f"--columns {' '.join(said)}"


_SOUND_LIKE = {
    "input": ("before", "input", "source", "src", "original", "cond"),
    "target": ("after", "target", "output", "edited", "result", "image"),
    "instruction": ("prompt", "instruction", "edit", "text", "caption"),
}
_OF_IMAGES = ("image", "img", "photo", "picture", "file", "path")
"""What names of columns may have in them, for an example to a user; nothing is taken for anything by it."""


def _in(file: SourceFile, folder: str) -> bool:
    return posixpath.dirname(file.path) == folder and file.path.endswith(".parquet")


def _each(value: Any) -> list[Any]:
    """The images of a column's value: those of a list, or the one that it is."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_inside(root: str, path: str) -> bool:
    """Whether a file lies below a root once all links are followed, or where the hub's cache keeps all its files."""
    store = store_of(root)
    if not store.is_local:
        return True
    real = os.path.realpath(store.path(on_disk(store, path)))
    return real.startswith(_places(store.root))


@lru_cache(maxsize=8)
def _places(root: str) -> tuple[str, ...]:
    """Where the files of a local root may lie."""
    real = os.path.realpath(root)
    snapshots = posixpath.dirname(real)
    if posixpath.basename(snapshots) == "snapshots":
        return f"{real}/", f"{posixpath.dirname(snapshots)}/blobs/"
    return (f"{real}/",)


def _text(value: Any, column: str) -> str:
    """A column's text, "" if there is none. Raises Reject: wrong_type, unencodable."""
    if value is not None and not isinstance(value, str | bytes):
        raise Reject("wrong_type", f"its {column} {_what(value)}, not text")
    return _encodable(" ".join(text_of(value).split()), column)


def _name(value: Any, column: str) -> str:
    """A column's value as a name."""
    if isinstance(value, list | Mapping):
        raise Reject("wrong_type", f"its {column} {_what(value)}, not a name")
    return _encodable(" ".join(as_name(value).split()), column)


def _encodable(text: str, column: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Reject("unencodable", f"its {column} holds half of a surrogate pair: {in_a_line(text, 80)!a}") from None
    return text


def _what(value: Any) -> str:
    """What a value is that is not what it should be, in words."""
    if value is None or (isinstance(value, str | bytes) and not value.strip()):
        return "has no value"
    return f"is {type(value).__name__}"


def _mask_on(photo: bytes, mask: bytes) -> tuple[Image, tuple[Step, ...]]:
    """A mask as it is, or turned as its photo was. Raises Reject: size_mismatch, turned, and as `read_header` does."""
    by = turn_onto(photo, mask, MASK)
    header = read_header(mask)
    if by == 1 or orientation(mask) != 1:  # which every decoder follows
        return stored(MASK, mask, header), ()
    if "A" in header.mode:
        raise Reject(
            "turned", "the input is turned by EXIF and its mask, which has transparency, is not: turn the input"
        )
    step = Step(operator="turn_mask", version=1, params={"orientation": by})
    return encode_lossless(MASK, turned(decode_rgb(mask), by)), (step,)
