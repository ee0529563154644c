"""What is to be predicted, as a dataset's manifests say, and what was predicted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from manifests.dataset import Dataset
from manifests.images.pixels import Pixels, decode_rgb
from manifests.read.query import read_image
from manifests.schema import Direction, Reject
from manifests.storage import is_hidden
from manifests.text_files import read_text
from operators.shared.palettes import TRAINED_PALETTE

_COLUMNS = [
    "pair",
    "task",
    "prototype_task",
    "direction",
    "kind",
    "inputs",
    "output",
    "shard",
    "images",
    "steps",
    "source",
    "instruction",
    "contexts",
]


RECORD_FILE = "predictions.json"
"""What made a folder of predictions, in it: `xprompt predict` writes it."""


class Malformed(ValueError):
    """A prediction that cannot be scored. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A generate example: what `output` is to be made of `inputs`, both roles of a pair's images."""

    dataset: Dataset
    pair: str
    task: str
    prototype_task: str
    direction: Direction
    inputs: tuple[str, ...]
    output: str
    shard: str
    images: Mapping[str, Mapping[str, Any]]
    """Role -> the manifest's record of that image."""
    steps: tuple[Mapping[str, Any], ...]
    source: str
    """The name of the source that the pair is of."""
    instruction: str
    contexts: tuple[Mapping[str, Any], ...]
    """The manifest's ranked in-context examples, the best first."""

    @property
    def told(self) -> Mapping[str, Any]:
        """What the reader of a test split says of the pair, such as its captions: parameters of its step "read"."""
        return next((json.loads(step["params"]) for step in self.steps if step["operator"] == "read"), {})

    @property
    def file(self) -> str:
        """The file name of the example's prediction in a folder."""
        return f"{self.pair}.{self.direction}.png"

    def image(self, role: str) -> Pixels:
        """H x W x 3 pixels of an image. Raises DatasetError for a damaged shard."""
        return decode_rgb(read_image(self.dataset, self.shard, self.images[role]))

    @property
    def palette(self) -> str:
        """The palette by which depth was coloured (operator `colour_dense`)."""
        params = [json.loads(step["params"]) for step in self.steps if step["operator"] == "colour_dense"]
        return str(params[-1]["palette"]) if params else TRAINED_PALETTE


def examples(dataset: Dataset, direction: Direction) -> Iterator[Example]:
    """The generate examples of the committed units of a dataset, in order; a unit's rows are in memory at once."""
    for name, _ in dataset.commits():
        for row in dataset.table_of(name, _COLUMNS).to_pylist():
            if row["kind"] == "generate" and row["direction"] == direction:
                yield Example(
                    dataset=dataset,
                    pair=row["pair"],
                    task=row["task"],
                    prototype_task=row["prototype_task"],
                    direction=direction,
                    inputs=tuple(row["inputs"]),
                    output=row["output"],
                    shard=row["shard"],
                    images={image["role"]: image for image in row["images"]},
                    steps=tuple(row["steps"]),
                    source=row["source"],
                    instruction=row["instruction"],
                    contexts=tuple(row["contexts"]),
                )


class Predictions(Protocol):
    @property
    def made_by(self) -> str:
        """In what arm and with which contexts they were made; "" if nothing says so."""
        ...

    def read(self, example: Example) -> bytes | None:
        """The image file predicted for an example; None if there is none."""
        ...

    def names(self) -> set[str]:
        """The predictions that are there, by the names of `Example.file`, and strange files by their own names."""
        ...


@dataclass(frozen=True)
class FolderPredictions:
    """A folder of files named <pair>.<direction>.png."""

    folder: Path

    @property
    def made_by(self) -> str:
        path = self.folder / RECORD_FILE
        if not path.is_file():
            return ""
        try:
            record = json.loads(read_text(path))
            return f"{record['arm']}, contexts {record['contexts']['policy']}"
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path} is not what xprompt predict writes: remove it") from None

    def read(self, example: Example) -> bytes | None:
        path = self.folder / example.file
        return path.read_bytes() if path.is_file() else None

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if not is_hidden(path.name)} - {RECORD_FILE}


@dataclass(frozen=True)
class DatasetPredictions:
    """A dataset directory whose pairs have the keys of those to be predicted, with the predictions as outputs."""

    dataset: Dataset
    made_by: str = ""

    def read(self, example: Example) -> bytes | None:
        answer = self._examples.get(example.file)
        return read_image(answer.dataset, answer.shard, answer.images[answer.output]) if answer else None

    def names(self) -> set[str]:
        return set(self._examples)

    @cached_property
    def _examples(self) -> dict[str, Example]:
        directions: tuple[Direction, ...] = ("forward", "reverse")
        return {one.file: one for direction in directions for one in examples(self.dataset, direction)}


def find_predictions(path: str) -> Predictions:
    """The predictions at a path. Raises ValueError if it is no folder."""
    dataset = Dataset(path)
    if dataset.store.exists("plan.parquet"):
        return DatasetPredictions(dataset)
    if not Path(path).is_dir():
        raise ValueError(f"{path} is not a folder: predictions are files named <pair>.<direction>.png in one")
    return FolderPredictions(Path(path))


def decode(data: bytes) -> Pixels:
    """H x W x 3 pixels of a prediction. Raises Malformed."""
    try:
        return decode_rgb(data)
    except Reject as reject:
        raise Malformed(reject.message) from None
