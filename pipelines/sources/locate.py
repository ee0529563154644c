"""Finds datasets below a data root: the source that DATA holds, and one line on each source of what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from manifests.storage import Store
from operators.base import Reader
from operators.read.files import SourceFile, list_files
from operators.read.hub_parquet import HubParquet
from operators.read.nyu_hdf5 import NyuFrames
from operators.read.paired_folders import PairedFolders
from operators.read.split import TRAIN, split_of
from pipelines.sources.datasets import DATASETS
from pipelines.sources.source import Source


def locate(sources: Sequence[Source], root: str, listing: Sequence[SourceFile], split: str = TRAIN) -> Source | None:
    """The first source of which a folder holds the split, its reader bound to the folder, else None.

    Records of one source are alternative layouts, and one may look like a part of another: FiveK's `input/` lies
    beside `target/` or `expertC/`. So a part is an error, a ValueError that names what is missing, only if no layout
    of that source is whole; but it is one before other sources are tried: half of Rain13K is not a folder of photos.

    Raises ValueError too for a split that no source has, and, where it is TRAIN, for a folder that is or holds a test
    split alone: neither is it trained on, nor are its inputs and targets taken for photos.
    """
    by_source: dict[str, list[Source]] = {}
    for source in (found for one in sources if (found := one.of(split))):
        by_source.setdefault(source.reader.source, []).append(source)
    if split != TRAIN and not by_source:
        raise ValueError(f"--split {split}: no source here has it. {_splits(sources)}")
    for layouts in by_source.values():
        in_part = None
        if split == TRAIN and not any(layout.reader.paired for layout in layouts):
            _refuse_test_split(sources, root, listing)
        for layout in layouts:
            reader = None
            try:
                reader = layout.reader.located(root, listing)
            except ValueError as error:
                in_part = in_part or error
            if reader:
                if split == TRAIN:
                    _refuse_test_folder(layouts, reader)
                return replace(layout, reader=reader)
        if in_part:
            if split == TRAIN:
                _refuse_test_split(layouts, root, listing)
            raise in_part
    if split == TRAIN:
        _refuse_test_split(sources, root, listing)
    for test in (layout for layouts in by_source.values() for layout in layouts if split != TRAIN):
        _refuse_unnamed(test.reader, root, listing)
    return None


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
            if any(reader.root.endswith(f"/{name}") for name in getattr(test.reader, "nested", ()) if name not in own):
                raise ValueError(_looks_like(test.reader, reader.root, layout))


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
