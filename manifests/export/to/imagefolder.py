"""Image files beside a metadata.jsonl, as `load_dataset("imagefolder")` of Hugging Face datasets reads them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, stem_of
from manifests.export.sample import Picture, Sample

_SPLIT = "train"
_INDEX = "metadata"
_FILE_NAME = "_file_name"
_CONTEXT = re.compile(r"context_(\d+)_")
_FIRST = ("input", "instruction", "output", "text", "mask")


class ImageFolder:
    """`train/metadata.jsonl` with a line an example, and `train/images/<pair>-<role>-<hash>.png`.

    A column `x_file_name` is read as an image `x`. A picture that several examples have is one file.
    """

    name = "imagefolder"
    summary = "Image files with train/metadata.jsonl, for load_dataset of Hugging Face datasets."
    reader = "huggingface/datasets 5.2: packaged_modules/folder_based_builder/folder_based_builder.py"
    carries = Carries(
        kinds=frozenset(["generate", "describe"]),
        least_inputs=0,
        most_inputs=None,
        masks=True,
        contexts=True,
        encodings=PILLOW_ENCODINGS,
    )

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        for sample in samples:
            part.line(_INDEX, _line(sample, lambda stem, picture: part.picture(f"{_SPLIT}/{stem}", picture)))

    def finish(self, made: Made) -> None:
        """Write metadata.jsonl, each line with all columns.

        datasets tells a column's type by the first 10 MB. One that is null so far has no type, so that later its images
        would be texts: for each column the first line that has it is put before all others.
        """
        columns: dict[str, int] = {}
        for number, line in enumerate(made.lines(_INDEX)):
            for name in line:
                columns.setdefault(name, number)
        names = sorted(columns, key=_order)
        first = sorted(set(columns.values()))
        ahead = {number: line for number, line in enumerate(made.lines(_INDEX)) if number in set(first)}

        def lines() -> Iterator[str]:
            yield from (_whole(ahead[number], names) for number in first)
            for number, line in enumerate(made.lines(_INDEX)):
                if number not in ahead:
                    yield _whole(line, names)

        made.write(f"{_SPLIT}/metadata.jsonl", (f"{line}\n".encode() for line in lines()))

    def places(self, sample: Sample) -> Iterable[Place]:
        pictures = dict(_pictures(sample))
        line = _line(sample, lambda stem, picture: f"{_SPLIT}/{stem}.{picture.file().ending}")
        for name in sorted(line, key=_order):
            value = line[name]
            column = name.removesuffix(_FILE_NAME)
            if name.endswith(_FILE_NAME):
                picture = pictures[column]
                yield Place(
                    ours=f"{column.replace('_', ' ')} ({picture.role})",
                    theirs=f"`{_SPLIT}/{value}` in `{name}`",
                    meaning=f"image column {column}",
                    shows=picture,
                )
            else:
                yield Place(ours=column.replace("_", " "), theirs=f"`{name}`", meaning="text column", shows=str(value))

    def how_to(self) -> str:
        return """\
```
datasets.load_dataset("FOLDER")["train"]  # with images in the columns input, output, ...
```

Several input images are `input`, `input_2`, ... in their order."""


def _pictures(sample: Sample) -> Iterator[tuple[str, Picture]]:
    """The pictures of a sample and of its in-context examples, by column."""
    for number, picture in enumerate(sample.inputs, 1):
        yield "input" if number == 1 else f"input_{number}", picture
    if sample.output is not None:
        yield "output", sample.output
    if sample.mask is not None:
        yield "mask", sample.mask
    for number, context in enumerate(sample.contexts, 1):
        for column, picture in _pictures(context):
            yield f"context_{number}_{column}", picture


def _line(sample: Sample, write: Callable[[str, Picture], str]) -> dict[str, Any]:
    """The columns of a sample; `write` takes a file's path without ending, and the picture, and gives its path."""
    line: dict[str, Any] = {}
    for column, picture in _pictures(sample):
        path = write(stem_of(picture), picture)
        line[f"{column}{_FILE_NAME}"] = path.removeprefix(f"{_SPLIT}/")
    line["instruction"] = sample.instruction
    if sample.text is not None:
        line["text"] = sample.text
    for number, context in enumerate(sample.contexts, 1):
        line[f"context_{number}_instruction"] = context.instruction
        if context.text is not None:
            line[f"context_{number}_text"] = context.text
    for name in ("task", "source", "licence"):
        line[name] = sample.value(name)
    line["pair"] = sample.example.pair.key
    line["direction"], line["kind"] = sample.direction, sample.kind
    return line


def _order(column: str) -> tuple[int, int, int, str]:
    """By what columns are sorted: pictures and texts of the example, then of its in-context examples, then the rest."""
    context = _CONTEXT.match(column)
    number = int(context[1]) if context else 0
    name = (column[context.end() :] if context else column).removesuffix(_FILE_NAME)
    head, _, tail = name.partition("_")
    if head not in _FIRST:
        return (sys.maxsize, 0, 0, column)
    return (number, _FIRST.index(head), int(tail or 1), column)


def _whole(line: dict[str, Any], columns: list[str]) -> str:
    return json.dumps({name: line.get(name) for name in columns}, ensure_ascii=False, separators=(",", ":"))
