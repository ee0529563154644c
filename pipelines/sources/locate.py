"""Finds datasets below a data root: the source that DATA holds, and one line on each source of what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from manifests.storage import Store
from operators.read.files import SourceFile, list_files
from operators.read.hub_parquet import HubParquet
from pipelines.sources.datasets import DATASETS
from pipelines.sources.source import Source


def locate(sources: Iterable[Source], root: str, listing: Sequence[SourceFile]) -> Source | None:
    """The first source that a folder holds, its reader bound to the folder, else None.

    Records of one source are alternative layouts, and one may look like a part of another: FiveK's `input/` lies
    beside `target/` or `expertC/`. So a part is an error, a ValueError that names what is missing, only if no layout
    of that source is whole; but it is one before other sources are tried: half of Rain13K is not a folder of photos.
    """
    by_source: dict[str, list[Source]] = {}
    for source in sources:
        by_source.setdefault(source.reader.source, []).append(source)
    for layouts in by_source.values():
        in_part = None
        for layout in layouts:
            try:
                if reader := layout.reader.located(root, listing):
                    return replace(layout, reader=reader)
            except ValueError as error:
                in_part = in_part or error
        if in_part:
            raise in_part
    return None


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
