"""Exports preferences: part by part, each two pictures once, resumable as any export (manifests/export/run.py)."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from PIL import Image as PILImage

from manifests.browse.drawing import beside
from manifests.dataset import Dataset
from manifests.export.folder import Folder, refuse_inside
from manifests.export.licences import licences_text
from manifests.export.markdown import cell
from manifests.export.part import Counts, PartWriter
from manifests.export.preference_layouts import Layout
from manifests.export.preferences import Preference, Wanted, preferences_of, rank_of
from manifests.export.run import Done, Told
from manifests.export.select import NothingLeft
from manifests.images.pixels import decode_rgb
from manifests.read.candidates import candidate_units
from manifests.schema import Reject, in_short
from manifests.write.candidates import FOLDER

VERSION = 1
"""Raised when an export of the same would be other bytes."""

PART_BYTES = 256 * 2**20
"""Bytes of candidates after which a part ends, at the end of a unit."""

_SHEET_PX = (900, 300)
_MAX_TEXT_CHARS = 300

_Slice = tuple[Dataset, str]
"""A unit of a dataset."""


def export_preferences(
    datasets: Sequence[Dataset],
    layout: Layout,
    out: str,
    wanted: Wanted | None = None,
    *,
    limit: int | None = None,
    tell: Told = lambda line: None,
) -> Done:
    """Write the preferences of finished datasets into a folder, or go on with doing so.

    Raises ValueError if there is none, or the folder holds something else; DatasetError, which is one, for a dataset
    that is unfinished or damaged.
    """
    wanted = wanted or Wanted()
    refuse_inside(out, [dataset.url for dataset in datasets])
    sources = []
    for dataset in datasets:
        dataset.description()  # raises what is for users if it is unfinished or edited
        digest = hashlib.sha256(dataset.store.read("dataset.json")).hexdigest()
        rank = rank_of(dataset, wanted.rank) if candidate_units(dataset) else None
        sources.append({"task": dataset.plan().task, "dataset.json": digest, "rank": rank})
    config = {"format": layout.name, "version": VERSION, "datasets": sources, **vars(wanted), "limit": limit}
    config["allowed"] = None if wanted.allowed is None else [*wanted.allowed]  # as JSON has it
    folder = Folder(out)
    try:
        if there := folder.finished(config):
            folder.remove_work()
            return Done(description=there, was_there=True)
        parts = _parts(datasets)
        if not parts:
            urls = ", ".join(dataset.url for dataset in datasets)
            raise ValueError(f"{urls}: only what was chosen is there; make the dataset with --keep-candidates")
        folder.begin(config)
        return Done(description=_export(layout, folder, config, parts, wanted, limit, tell), was_there=False)
    finally:
        folder.close()


def _parts(datasets: Sequence[Dataset]) -> list[list[_Slice]]:
    """The units that have candidates, together until those have PART_BYTES."""
    parts: list[list[_Slice]] = []
    size = PART_BYTES
    for dataset in datasets:
        for unit in candidate_units(dataset):
            if size >= PART_BYTES:
                parts.append([])
                size = 0
            parts[-1].append((dataset, unit))
            size += dataset.store.size(f"{FOLDER}/{unit}.tar")
    return parts


def _export(
    layout: Layout,
    folder: Folder,
    config: dict[str, Any],
    parts: Sequence[Sequence[_Slice]],
    wanted: Wanted,
    limit: int | None,
    tell: Told,
) -> dict[str, Any]:
    counts, left_out, seen = Counts(), Counter[str](), set[str]()
    files = size = 0
    for number, part in enumerate(parts):
        record = folder.record(number)
        if record is None:
            left = None if limit is None else limit - counts.examples
            record = _write_part(layout, folder, part, wanted, left, seen, number, len(parts))
            folder.write_record(number, record)
            if len(parts) > 1:
                tell(f"part {number + 1:,} of {len(parts):,} written")
        counts.add(record)
        left_out.update(record["left_out"])
        seen.update(record["seen"])
        files += len(record["files"])
        size += sum(record["files"].values())
    if not counts.examples:
        folder.store.remove_folder("data")
        folder.remove_work()
        why = "; ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items())) or "there are none"
        raise NothingLeft(f"no preference is left to export: {why}")
    description = {
        "config": config,
        "reader": layout.reader,
        "files": files,
        "bytes": size,
        "left_out": dict(sorted(left_out.items())),
        **counts.as_json(),
    }
    preferences = chain.from_iterable(_of(part, wanted, Counter()) for part in parts)
    for path, data in _explained(layout, next(preferences), description):
        with folder.writing(path) as file:
            file.write(data)
    with folder.writing("LICENCES.md") as file:
        file.write(licences_text(counts, with_contexts=False).encode())
    folder.finish(description)
    return description


def _write_part(
    layout: Layout,
    folder: Folder,
    part: Sequence[_Slice],
    wanted: Wanted,
    left: int | None,
    seen: set[str],
    number: int,
    of: int,
) -> dict[str, Any]:
    """Write a part; what is to be recorded of it. `seen` are the identities of preferences in parts before it."""
    counts, left_out, new = Counts(), Counter[str](), dict[str, None]()

    def rows() -> Iterator[dict[str, Any]]:
        for preference in _of(part, wanted, left_out):
            if counts.examples == left:
                return
            identity = preference.identity
            if identity in seen or identity in new:
                left_out["that are there already"] += 1
                continue
            new[identity] = None
            counts.examples += 1
            counts.licences[preference.licence, preference.source, "examples"] += 1
            counts.parents.add(preference.parents)
            yield layout.row(preference)

    with PartWriter(folder, number, of) as writer:
        writer.table(f"data/train-{number:05d}-of-{of:05d}.parquet", layout.schema, rows())
    written = {"files": writer.files, "lines": writer.lines}
    return {**counts.as_json(), **written, "left_out": dict(sorted(left_out.items())), "seen": [*new]}


def _of(part: Sequence[_Slice], wanted: Wanted, left_out: Counter[str]) -> Iterator[Preference]:
    return chain.from_iterable(preferences_of(dataset, unit, wanted, left_out) for dataset, unit in part)


def _explained(layout: Layout, first: Preference, said: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files that explain an export, by path: SAMPLE.md, and the pictures of its first preference."""
    shows = {
        "instruction": cell(in_short(first.prompt, _MAX_TEXT_CHARS)),
        "inputs": f"{len(first.inputs)} images"
        if first.inputs
        else "none: it is of a rejected pair, or of words alone",
        "better picture": f"{first.rank} {first.win.scores[first.rank]:g}",
        "worse picture": f"{first.rank} {first.lose.scores[first.rank]:g}",
        "how much better": f"{first.margin:g}",
    }
    try:
        pictures = [decode_rgb(data) for data in (first.win.data(), first.lose.data())]
    except Reject:  # what its owner wrote is no image: the export has it as it is
        pictures = []
    sheet = io.BytesIO()
    shown = [*(one.pair.image(one.role) for one in first.inputs), *pictures]
    (beside(shown, *_SHEET_PX) if shown else PILImage.new("RGB", _SHEET_PX)).save(sheet, "PNG")
    yield "sample/1.png", sheet.getvalue()
    lines = [
        f"# {layout.name}: {said['examples']:,} preferences",
        "",
        f"{layout.summary} Read by `{layout.reader}`.",
        "",
        layout.how_to,
        "",
        "![inputs, better picture, worse picture](sample/1.png)",
        "",
        "| here | column | |",
        "|---|---|---|",
        *(f"| {ours} | {theirs} | {shows[ours]} |" for ours, theirs in layout.places),
        "",
    ]
    if said["left_out"]:
        listed = "; ".join(f"{count:,} {cell(what)}" for what, count in said["left_out"].items())
        lines += [f"Left out: {listed}.", ""]
    yield "SAMPLE.md", "\n".join(lines).encode()
