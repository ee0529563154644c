"""Exports datasets: chooses examples, has a format write them part by part, and explains what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from manifests.dataset import Dataset
from manifests.export.explain import SHOWN, Explained, explain
from manifests.export.folder import Folder, refuse_inside
from manifests.export.format import Format
from manifests.export.licences import licences_text
from manifests.export.part import Counts, PartWriter
from manifests.export.sample import Sample
from manifests.export.select import (
    Choice,
    Chosen,
    Selection,
    has_mask,
    licences_of,
    sample_of,
    samples_of,
    select,
)
from manifests.records import parse_json
from manifests.schema import DatasetError
from manifests.storage import Store

VERSION = 2
"""Raised when an export of the same would be other bytes."""

Told = Callable[[str], None]
"""Takes a line for the user, while parts are written."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What an export is once it is finished: what export.json says."""

    description: dict[str, Any]
    was_there: bool
    """Whether it had been finished before, and nothing was written now."""


def export(
    datasets: Sequence[Dataset], form: Format, out: str, choice: Choice | None = None, tell: Told = lambda line: None
) -> Done:
    """Write finished datasets into a folder, in a layout that another trainer reads, or go on with doing so.

    The same datasets, choice and format give the same bytes, however often it was interrupted. Raises ValueError for
    what cannot be exported so, or a folder that holds something else; DatasetError, which is one, for a dataset that is
    unfinished or damaged.
    """
    choice = choice or Choice()
    choice.kinds(form.carries)
    if choice.contexts and not form.carries.contexts:
        raise ValueError(f"{form.name} has no place for in-context examples: leave --contexts out")
    urls = [dataset.url for dataset in datasets]
    refuse_inside(out, urls)
    folder = Folder(out)
    try:
        config = _config(datasets, form, choice)
        if there := folder.finished(config):
            folder.remove_work()
            return Done(description=there, was_there=True)
        selection = select(datasets, form.carries, choice)
        folder.begin(config)
        return Done(description=_export(datasets, form, folder, config, choice, selection, tell), was_there=False)
    finally:
        folder.close()


def _config(datasets: Sequence[Dataset], form: Format, choice: Choice) -> dict[str, Any]:
    """All that the bytes of an export depend on, the place that it is written to aside."""
    sources = []
    for dataset in datasets:
        dataset.description()  # raises what is for users if it is unfinished or edited
        digest = hashlib.sha256(dataset.store.read("dataset.json")).hexdigest()
        sources.append({"task": dataset.plan().task, "dataset.json": digest})
    allowed = choice.allowed if choice.allowed is None else [*choice.allowed]  # as JSON has it
    return {"format": form.name, "version": VERSION, "datasets": sources, **vars(choice), "allowed": allowed}


def _export(
    datasets: Sequence[Dataset],
    form: Format,
    folder: Folder,
    config: dict[str, Any],
    choice: Choice,
    selection: Selection,
    tell: Told,
) -> dict[str, Any]:
    parts = selection.parts()
    counts, shapes, files, size = Counts(), [], 0, 0
    for number in range(len(parts)):
        record = folder.record(number)
        if record is None:
            record = _write_part(datasets, form, folder, choice, number, parts)
            folder.write_record(number, record)
            if len(parts) > 1:
                tell(f"part {number + 1:,} of {len(parts):,} written")
        counts.add(record)
        shapes += record["shapes"]
        files += len(record["files"])
        size += sum(record["files"].values())
    made = _Made(folder, len(parts), counts.examples)
    form.finish(made)
    shown = [
        _sample_at(datasets, form, choice, shape["dataset"], shape["unit"], shape["row"])
        for shape in _first_of_each(shapes)
    ]
    description = {
        "config": config,
        "reader": form.reader,
        "files": files,
        "bytes": size,
        "left_out": dict(sorted(selection.left_out.items())),
        **counts.as_json(),
    }
    for path, data in explain(form, Explained(datasets=datasets, samples=shown, description=description)):
        with folder.writing(path) as file:
            file.write(data)
    made.text("LICENCES.md", licences_text(counts, form.carries.contexts))
    folder.finish(description)
    return description


def _write_part(
    datasets: Sequence[Dataset],
    form: Format,
    folder: Folder,
    choice: Choice,
    number: int,
    parts: list[list[Chosen]],
) -> dict[str, Any]:
    """Write a part; what is to be recorded of it."""
    counts, part = Counts(), parts[number]
    shapes: dict[str, dict[str, Any]] = {}
    places = ((chosen, int(row)) for chosen in part for row in chosen.rows)

    def counted() -> Iterator[Sample]:
        for sample in samples_of(datasets, part, form.carries, choice, counts.converted):
            chosen, row = next(places)
            _count(sample, form, counts)
            shape = _shape(sample)
            if shape not in shapes and len(shapes) < SHOWN:
                shapes[shape] = {"shape": shape, "dataset": chosen.dataset, "unit": chosen.unit, "row": row}
            yield sample

    with PartWriter(folder, number, len(parts)) as writer:
        rest = counted()
        form.write(rest, writer)
        assert not [*islice(rest, 1)], f"{form.name} left samples of a part unwritten"
    counts.without.update(writer.left_off)
    return {**counts.as_json(), "files": writer.files, "lines": writer.lines, "shapes": [*shapes.values()]}


def _count(sample: Sample, form: Format, counts: Counts) -> None:
    example = sample.example
    counts.examples += 1
    if not form.carries.masks and has_mask(example.pair, example):
        counts.without["masks"] += 1
    if not form.carries.contexts and (contexts := len(example.ranked)):
        counts.without["in-context examples"] += contexts
    for one, what in ((sample, "examples"), *((context, "contexts") for context in sample.contexts)):
        pair = one.example.pair
        counts.licences[pair.value("licence"), pair.value("source"), what] += 1
        counts.parents.add(licences_of(pair))


def _shape(sample: Sample) -> str:
    """What SAMPLE.md shows one sample of each of."""
    task = sample.example.pair.task
    extras = f"{len(sample.inputs)} inputs, mask {sample.mask is not None}, {len(sample.contexts)} contexts"
    return f"{task}, {sample.kind} {sample.direction}, {extras}"


def _first_of_each(shapes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for shape in shapes:
        first.setdefault(shape["shape"], shape)
    return [*first.values()][:SHOWN]


def _sample_at(datasets: Sequence[Dataset], form: Format, choice: Choice, dataset: int, unit: str, row: int) -> Sample:
    examples = (example for pair in datasets[dataset].pairs_of(unit) for example in pair.examples)
    example = next(islice(examples, row, None), None)
    if example is None:
        raise DatasetError(f"{datasets[dataset].url} was changed while it was exported: remove the export")
    return sample_of(example, form.carries, choice, Counts().converted)


class _Made:
    """See `manifests.export.format.Made`."""

    def __init__(self, folder: Folder, parts: int, examples: int) -> None:
        self._folder = folder
        self.parts, self.examples = parts, examples

    @property
    def store(self) -> Store:
        return self._folder.store

    @property
    def place(self) -> str:
        return self.store.root if self.store.is_local else self._folder.url

    def lines(self, index: str) -> Iterator[Any]:
        for line in self._folder.lines(self.parts, index):
            yield parse_json(line)

    def write_lines(self, path: str, index: str) -> None:
        self.write(path, (line + b"\n" for line in self._folder.lines(self.parts, index)))

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        with self._folder.writing(path) as file:
            for chunk in chunks:
                file.write(chunk)

    def text(self, path: str, text: str) -> None:
        self.write(path, [text.encode()])
