"""Finds datasets below a data root: the source that DATA holds, and one line on each source of what is missing."""

from __future__ import annotations

import difflib
import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from manifests.storage import Store, spelled_out
from operators.base import OfFile, Reader, Telling
from operators.read.column_pairs import FORMATS, OwnPairs
from operators.read.edit_rows import EditRows
from operators.read.files import IMAGE_ENDINGS, Listing, SourceFile, ending, list_files
from operators.read.hub_parquet import HubParquet
from operators.read.nyu_hdf5 import NyuFrames
from operators.read.paired_folders import PairedFolders
from operators.read.parquet import open_parquet
from operators.read.photos import PhotoFolder
from operators.read.sides import (
    folders_above,
    holds_splits,
    is_tested_on,
    is_unwanted_side,
    looks_paired,
    may_be_sides,
    of_same_names,
    side,
    sides_above,
)
from operators.read.split import TRAIN, ends_in, split_of
from pipelines.sources.datasets import DATASETS
from pipelines.sources.source import Source

PHOTOS = "photos"
"""What --as calls any folder of photos."""

_INSISTING = f"--as {PHOTOS} (AS={PHOTOS}) takes all of it as clean photos"

_TESTS = frozenset(
    ["test", "tests", "testing", "val", "valid", "validation", "eval", "evaluation", "eval15", "dev", "official_splits"]
)
"""Folders, in lower case, below which no training data is looked for."""

_DEPTH = 4
_FOLDERS = 1_000
_LOOKED_AT = 20
"""How deep below DATA a layout is looked for, in how many folders, and by how many images of each."""

_SHOWN = 4  # of several layouts below DATA


def locate(
    sources: Sequence[Source], root: str, listing: Sequence[SourceFile], split: str = TRAIN, taken_as: str = ""
) -> Source | None:
    """The first source of which a folder holds the split, its reader bound to the folder, else None.

    Records of one source are alternative layouts, and one may look like a part of another: FiveK's `input/` lies
    beside `target/` or `expertC/`. So a part is an error, a ValueError that names what is missing, only if no layout
    of that source is whole; but it is one before other sources are tried: half of Rain13K is not a folder of photos.

    A layout is found from any level of its published tree: also from a folder above it, if only one is below that, and
    from the folder of one group in it. What looks paired and is none of the layouts is not taken for photos: a
    ValueError says why. With `taken_as`, the name of a source, it is read as that source or not at all.

    Raises ValueError too for a split that no source has, and, where it is TRAIN, for a folder that is or holds a test
    split alone: neither is it trained on, nor are its inputs and targets taken for photos.
    """
    if taken_as:
        sources = [_insisted(one) for one in named(sources, taken_as)]
    by_source: dict[str, list[Source]] = {}
    for source in (found for one in sources if (found := one.of(split))):
        by_source.setdefault(source.reader.source, []).append(source)
    if split != TRAIN and not by_source:
        raise ValueError(f"--split {split}: no source here has it. {_splits(sources)}")
    known = [layouts for layouts in by_source.values() if not any(_is_photos(layout) for layout in layouts)]
    photos = [layout for layouts in by_source.values() if layouts not in known for layout in layouts]
    unsaid = None
    for layouts in known:
        try:
            found = _whole(layouts, root, listing, split)
            if found and not taken_as and isinstance(found.reader, PhotoFolder):
                _refuse_pairs_in(found.reader, root, listing)
        except ValueError as error:
            if any(isinstance(layout.reader, OwnPairs) and layout.reader.columns is None for layout in layouts):
                unsaid = error  # a table that nobody has said anything of, unless a known dataset lies below
                continue
            if not photos:
                raise
            raise ValueError(f"{error}; {_INSISTING}") from error
        if found:
            _refuse_mixed(known, root, listing)
            return found
    if found := _elsewhere(known, root, listing, split):
        if unsaid:
            _refuse_tables_beside(found.reader, root, listing)
        return found
    if split == TRAIN:
        _refuse_test_split(sources, root, listing)
    if unsaid:
        raise unsaid
    for layout in photos:
        if reader := layout.reader.located(root, listing):
            if not taken_as:
                _refuse_pairs(layout, root, listing)
            return replace(layout, reader=reader)
    for test in (layout for layouts in by_source.values() for layout in layouts if split != TRAIN):
        _refuse_unnamed(test.reader, root, listing)
    return None


def of_file(sources: Sequence[Source], root: str) -> tuple[tuple[Source, ...], str]:
    """The sources and their data root, where that is a file of one that reads files, or a pattern of their names: then
    only such sources are left, and the root is the folder that the file lies in."""
    folder, _, name = root.rpartition("/")
    reading = [(one, one.reader) for one in sources if isinstance(one.reader, OfFile)]
    if not reading or not folder.strip("/") or folder.endswith("/"):
        return tuple(sources), root
    store = Store(folder)
    is_file = store.exists(name) and not store.fs.isdir(store.path(name))
    if not is_file and not ("*" in name and not store.exists(name) and store.exists("")):
        return tuple(sources), root
    return tuple(replace(source, reader=reader.of_file(name)) for source, reader in reading), folder


def named(sources: Sequence[Source], name: str) -> list[Source]:
    """The sources that a name stands for: a source's own, that of its folder, or "photos" for all folders of photos.

    Raises ValueError, one line with the nearest name, for a name of none.
    """
    names = {id(one): [one.reader.source, one.folder, *([PHOTOS] if _is_photos(one) else [])] for one in sources}
    if found := [one for one in sources if name in names[id(one)]]:
        return found
    known = [one for one in dict.fromkeys(chain.from_iterable(names.values())) if one]
    near = difflib.get_close_matches(name, known, n=1)
    raise ValueError(f"--as {name}: " + (f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"))


def _insisted(source: Source) -> Source:
    """A source whose layout is found without the name of a published folder around it: the user has said what it is."""
    reader = source.reader
    if isinstance(reader, PairedFolders) and "" not in reader.nested:
        return replace(source, reader=replace(reader, nested=(*reader.nested, "")))
    return source


def _is_photos(source: Source) -> bool:
    """Whether any folder of photos is one of the source."""
    photos = getattr(source.reader, "photos", source.reader)
    return isinstance(photos, PhotoFolder) and not photos.folders


def _whole(layouts: Sequence[Source], root: str, listing: Sequence[SourceFile], split: str) -> Source | None:
    """The first of a source's layouts that a folder has. Raises ValueError if it has none but a part of one."""
    in_part = None
    for layout in layouts:
        reader = None
        try:
            reader = layout.reader.located(root, listing)
        except ValueError as error:
            in_part = in_part or error
        if reader:
            group = _as_group(layout.reader, root, listing)
            if group and isinstance(reader, PairedFolders) and reader.root == root:
                inside = [replace(file, path=f"{group.only}/{file.path}") for file in listing]
                reader = group if group.fitting(inside) > reader.fitting(listing) else reader
            if split == TRAIN:
                _refuse_test_folder(layouts, reader)
            return replace(layout, reader=reader)
    if in_part:
        if split == TRAIN:
            _refuse_test_split(layouts, root, listing)
        raise in_part
    return None


def _as_group(reader: Reader, root: str, listing: Sequence[SourceFile]) -> PairedFolders | None:
    """A reader bound to the folder above a root, of which it reads the root alone, if that is one group of its layout:
    one sequence of GoPro, one scene of ScanNet."""
    above, _, name = root.rstrip("/").rpartition("/")
    if not (isinstance(reader, PairedFolders) and reader.by_group and above.strip("/") and not above.endswith("/")):
        return None
    inside = [replace(file, path=f"{name}/{file.path}") for file in listing]
    found = None
    with suppress(ValueError):  # for a part of one
        found = reader.located(above, inside)
    return replace(found, only=name) if found and found.root == above else None


def _elsewhere(
    known: Sequence[Sequence[Source]], root: str, listing: Sequence[SourceFile], split: str
) -> Source | None:
    """The layout of which a folder is one group, or the only one that lies somewhere below it.

    Raises ValueError if there are several, naming them.
    """
    for layouts in known:
        for layout in layouts:
            if group := _as_group(layout.reader, root, listing):
                if split == TRAIN:
                    _refuse_test_folder(layouts, group)
                return replace(layout, reader=group)
    below: dict[str, Source] = {}
    if split == TRAIN and posixpath.basename(root.rstrip("/")).lower() in _TESTS:
        return None
    for folder, inside in _folders(listing, split):
        for layouts in known:
            for layout in layouts:
                found = None
                with suppress(ValueError):  # for a part of one, or one of a test split
                    if found := layout.reader.located(f"{root.rstrip('/')}/{folder}", inside):
                        if split == TRAIN:
                            _refuse_test_folder(layouts, found)
                        below.setdefault(found.root, replace(layout, reader=found))
                if found:
                    _refuse_mixed(known, f"{root.rstrip('/')}/{folder}", inside)
    if len(below) > 1:
        shown = [
            f"{one.reader.source} in {place.removeprefix(root.rstrip('/') + '/')}/" for place, one in below.items()
        ]
        more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
        raise ValueError(f"DATA: {root} holds {', '.join(shown[:_SHOWN])}{more}: point DATA at one of them")
    return next(iter(below.values()), None)


def _refuse_mixed(known: Sequence[Sequence[Source]], root: str, listing: Sequence[SourceFile]) -> None:
    """Raises ValueError for a folder with the tables of several published edit datasets, of which one would be read."""
    there = []
    for layout in chain.from_iterable(known):
        with suppress(ValueError):  # for a part of one
            if isinstance(layout.reader, EditRows) and layout.reader.located(root, listing):
                there.append(layout.reader.source)
    if len(names := list(dict.fromkeys(there))) > 1:
        raise ValueError(f"DATA: {root} holds {' and '.join(names)}: say which is to be read, as by --as {names[0]}")


def _refuse_tables_beside(reader: Reader, root: str, listing: Sequence[SourceFile]) -> None:
    """Raises ValueError if beside the folder of a known dataset lie tables of which nobody has said what they are."""
    place = reader.root.removeprefix(root.rstrip("/")).strip("/")
    tables = [f.path for f in listing if ending(f.path) in FORMATS and ending(f.path) != "json"]
    if other := next((path for path in tables if path.split("/")[0] != place.split("/")[0]), ""):
        raise ValueError(
            f"DATA: {root} holds {reader.source} in {place}/, and {other}, which is not of it: point DATA at one"
        )


def _folders(listing: Sequence[SourceFile], split: str) -> Iterator[tuple[str, list[SourceFile]]]:
    """The folders below a root that a layout may lie in, the upper ones first, each with some files of all below it."""
    counts: Counter[str] = Counter()
    inside: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in listing:
        folder = posixpath.dirname(file.path)
        counts[folder] += ending(file.path) in IMAGE_ENDINGS
        if counts[folder] > _LOOKED_AT and ending(file.path) in IMAGE_ENDINGS:
            continue
        parts = folder.split("/") if folder else []
        if split == TRAIN and any(part.lower() in _TESTS for part in parts):
            continue
        for depth in range(1, min(len(parts), _DEPTH) + 1):
            above = "/".join(parts[:depth])
            if above in inside or len(inside) < _FOLDERS:
                inside[above].append(replace(file, path=file.path[len(above) + 1 :]))
    yield from sorted(inside.items(), key=lambda one: (one[0].count("/"), one[0]))


def _refuse_pairs(photos: Source, root: str, listing: Sequence[SourceFile]) -> None:
    """Raises ValueError for a folder that looks like one of pairs, or like one side of them."""
    if getattr(photos.reader, "within_folder", False):  # frames of clips, which are numbered alike
        return
    why = looks_paired(root, listing) or holds_splits(listing) or _beside_other_side(root, listing)
    if why:
        raise ValueError(
            f"DATA: {root} is not taken as {photos.layout}: {why}. If these are pairs, lay them out as one of the "
            f"sources that the task reads; {_INSISTING}"
        )


def _refuse_pairs_in(reader: PhotoFolder, root: str, listing: Sequence[SourceFile]) -> None:
    """Raises ValueError if a folder of a published set of photos holds pairs too, as DIV2K's own tree does."""
    place = reader.root.removeprefix(root.rstrip("/")).strip("/")
    for folder in reader.folders:
        above = f"{place}/{folder}/".lstrip("/")
        inside = [replace(file, path=file.path[len(above) :]) for file in listing if file.path.startswith(above)]
        if why := looks_paired(f"{reader.root}/{folder}", inside):
            raise ValueError(f"DATA: {reader.root}/{folder} is not taken as photos of {reader.source}: {why}")


def _beside_other_side(root: str, listing: Sequence[SourceFile]) -> str:
    """What beside a folder, or beside one that it lies in, makes it one side of pairs, in words; "" for nothing."""
    for name, above in sides_above(root):
        if other := next((one for one in _names_in(above) if one != name and side(one)), ""):
            return f"it lies in {name}/, beside which there is {other}/"
    for name, above in folders_above(root):
        if other := next((one for one in _names_in(above) if one != name and is_unwanted_side(name, one)), ""):
            return f"{name}/ and {other}/ beside it have the names of two sides of pairs"
        if is_tested_on(name, _names_in(above)):
            return f"{name}/ is to test with, beside what is to be trained on"
    above, _, name = root.rstrip("/").rpartition("/")
    real = os.path.realpath(root)  # a link to the folder is not another side of it
    others = [one for one in _names_in(above) if os.path.realpath(f"{above}/{one}") != real][:_FOLDERS]
    folder = next((posixpath.dirname(file.path) for file in listing if ending(file.path) in IMAGE_ENDINGS), "")
    own = [file.path for file in listing if posixpath.dirname(file.path) == folder]
    for other in others:
        if may_be_sides(name, other):
            inside = _names_in(f"{above}/{other}/{folder}".rstrip("/"))
            if of_same_names(map(posixpath.basename, own), inside):
                return f"{name}/ and {other}/ beside it have files of the same names"
    return ""


def _names_in(folder: str) -> list[str]:
    """What is in a folder, by name; nothing if it cannot be listed, as the top of a store cannot."""
    with suppress(OSError, ValueError):
        return Store(folder).names("") if folder.strip("/") and not folder.endswith("/") else []
    return []


def _splits(sources: Sequence[Source]) -> str:
    """The test splits of sources, in words."""
    has: dict[str, list[str]] = {}
    for source in sources:
        has.setdefault(source.reader.source, []).extend(name for name in source.splits if name != TRAIN)
    return "; ".join(f"{name} has {', '.join(dict.fromkeys(splits)) or 'none'}" for name, splits in has.items())


def _refuse_test_folder(layouts: Sequence[Source], reader: Reader) -> None:
    """Raises ValueError if the folder that was found to train on has the name of one that holds a test split."""
    own = {"", *(name for layout in layouts for name in getattr(layout.reader, "nested", ()))}
    for layout in layouts:
        for test in layout.tests:
            if any(ends_in(reader.root, name) for name in getattr(test.reader, "nested", ()) if name not in own):
                raise ValueError(_looks_like(test.reader, reader.root, layout))
    name = posixpath.basename(reader.root.rstrip("/"))
    if isinstance(reader, PairedFolders) and not reader.only and name.lower() in _TESTS:
        raise ValueError(
            f"DATA: {reader.root} is laid out as {reader.source}, but {name} is what test splits are called, which are "
            "not trained on; if it holds no test data, give it another name"
        )


def _refuse_test_split(sources: Sequence[Source], root: str, listing: Sequence[SourceFile]) -> None:
    """Raises ValueError if a folder that holds nothing to train on holds a test split."""
    tests = [(one, test) for one in sources for name in one.splits if name != TRAIN and (test := one.of(name))]
    for source, test in tests:
        there = None
        with suppress(ValueError):  # for a part of one
            there = test.reader.located(root, listing)
        if there:
            raise ValueError(_looks_like(there, root, source))
    for _, test in tests:
        _refuse_unnamed(test.reader, root, listing)


def _refuse_unnamed(test: Reader, root: str, listing: Sequence[SourceFile]) -> None:
    """Raises ValueError if a folder is laid out as a test split is, but has not the name by which one is told."""
    if not isinstance(test, PairedFolders | NyuFrames) or "" in test.nested:
        return
    there = None
    with suppress(ValueError):  # for a part of one
        there = replace(test, nested=("",)).located(root, listing)
    if there:
        raise ValueError(
            f"DATA: {root} is laid out as {test.source}, but its name does not say whether to train on it: the "
            f"{test.split} split lies in {' or '.join(test.nested)}. Give it a name as published"
        )


def _looks_like(test: Reader, root: str, source: Source) -> str:
    split, trained = split_of(test), source.of(TRAIN)
    instead = f"not as {test.source} is for training ({trained.layout})" if trained else "which is for evaluation alone"
    return (
        f"DATA: {root} is laid out as the {split} split of {test.source}, {instead}. --split {split} reads it; if it "
        "holds no test data, point DATA at the folder above it, or give it another name"
    )


def seen(source: Source, root: str, listing: Listing) -> str:
    """What of a data root is read, and what was taken for what, in words: "root taken as layout: ..."."""
    reader, top = source.reader, root.rstrip("/")
    told = []
    place = reader.root.removeprefix(top).strip("/") if f"{reader.root}/".startswith(f"{top}/") else None
    if place:
        told.append(f"read from {place}/")
        inside = [replace(f, path=f.path[len(place) + 1 :]) for f in listing if f.path.startswith(f"{place}/")]
    else:
        inside = [*(listing if place is not None else reader.listing())]
    if isinstance(getattr(reader, "photos", reader), PhotoFolder):
        files = [item.files[0] for item in getattr(reader, "photos", reader).items(inside)]
        others = [file for file in files if ending(file) not in IMAGE_ENDINGS]
        endings = ", ".join(sorted({ending(file) or "none" for file in others})[:_SHOWN])
        odd = f", {len(others):,} of them without the ending of an image ({endings})" if others else ""
        told.append(f"{len(files):,} files taken as clean photos{odd}")
    if isinstance(reader, Telling):
        told.append(reader.told(inside))
    text = f"{spelled_out(root)} taken as {source.layout}{told_passed_over(listing)}"
    return f"{text}: {'; '.join(told)}" if told else text


def told_columns(root: str, listing: Sequence[SourceFile]) -> str:
    """The columns of a Parquet file below a data root that nothing reads, in the middle of a sentence."""
    for file in listing:
        if ending(file.path) == "parquet":
            with suppress(ValueError):  # it is not whole
                return (
                    f", where {file.path} has the columns {', '.join(open_parquet(root, file.path).schema_arrow.names)}"
                )
    return ""


def told_passed_over(listing: Listing) -> str:
    """What was passed over below a data root, in words, in the middle of a sentence."""
    return "".join(f", {count:,} {what} passed over" for what, count in listing.passed_over.items())


def check(data: str) -> dict[str, str]:
    """Source -> one line on its folder below a data root: ready, partial: what is missing, or missing: how to get it.

    Only listed, and of the data root only the folders that sources have in it. Where a source has several layouts the
    line is of the one that is there. What listing cannot tell, whether files are whole, it does not say.
    """
    store, root = Store(data), data.rstrip("/")
    lines: dict[str, str] = {}
    listings: dict[str, Sequence[SourceFile]] = {}
    for source in DATASETS:
        folder, name = source.folder, source.reader.source
        if folder not in listings:
            listings[folder] = list_files(f"{root}/{folder}") if store.exists(folder) else []
        line = _state(source, f"{root}/{folder}", listings[folder])
        lines[name] = max(lines.get(name, line), line, key=_rank)
    return lines


def _state(source: Source, root: str, listing: Sequence[SourceFile]) -> str:
    try:
        reader = source.reader.located(root, listing)
    except ValueError as error:
        return f"partial: {error}"
    if reader is None:
        return f"missing: {source.obtain}; put it into {source.folder}/ as {source.layout}"
    below = f"{reader.root.removeprefix(root).strip('/')}/".removeprefix("/")
    inside = [replace(f, path=f.path.removeprefix(below)) for f in listing if f.path.startswith(below)]
    if isinstance(reader, HubParquet) and (files := reader.missing(inside)):
        return f"partial: {len(files):,} of its files are missing, the first is {files[0]}"
    if source.pairs is None:
        return f"ready: {source.size}"
    found = sum("" not in item.files for item in reader.items(inside))
    return f"ready: {found:,} pairs" if found >= source.pairs else f"partial: {found:,} of {source.pairs:,} pairs"


def _rank(line: str) -> int:
    return ("missing", "partial", "ready").index(line.partition(":")[0])
