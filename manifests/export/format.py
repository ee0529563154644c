"""What a format is: what it carries, what it writes for samples, and how that is explained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from manifests.export.sample import ALL_ENCODINGS, Picture, Sample
from manifests.schema import Kind
from manifests.storage import Store


@dataclass(frozen=True, kw_only=True)
class Carries:
    """What of a sample a format has a place for. What it has none for is counted and said, by the engine.

    An example of another kind, or with too few or too many inputs, is left out whole: with an input less it would be
    another task. Masks and contexts are left off, and the example is kept.
    """

    kinds: frozenset[Kind] = frozenset(["generate"])
    least_inputs: int = 1
    most_inputs: int | None = 1
    """None: any number."""
    masks: bool = False
    contexts: bool = False
    encodings: frozenset[str] = ALL_ENCODINGS
    """The encodings of image files that the reader opens; images of others become PNG, without loss."""
    as_stored: bool = False
    """Whether the reader sees what is meant in any image file that it opens: see `Picture.as_stored`."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something of a sample went, for SAMPLE.md."""

    ours: str
    """What it is here: "input 1 (input)", "output (target)", "instruction", "mask"."""
    theirs: str
    """Where it is there: a file's path in the export, or a column's name, as Markdown."""
    meaning: str
    """What the reader takes it for, in words: "control image", "target", "caption"."""
    shows: Picture | str
    """The picture, or the text."""


class Part(Protocol):
    """What a format writes a slice of the samples into. Nothing of it is visible under a final name half-written, and
    a part that was finished is never asked for again."""

    @property
    def number(self) -> int:
        """From 0."""

    @property
    def of(self) -> int:
        """How many parts the export has."""

    def picture(self, stem: str, picture: Picture) -> str:
        """Write a picture once, as `<stem>.<its ending>`; its path. One that is there already is not written again:
        several samples may have it, if they name it by pair and role.
        """

    def text(self, path: str, text: str) -> None:
        """Write a text file, a caption say, just so: without a line end that is not in it. A path is one below the
        export's folder, with forward slashes."""

    def line(self, index: str, value: Any) -> None:
        """Append a JSON value to an index, which `Made.lines` gives back in the order of all samples."""

    def leave_off(self, what: str) -> None:
        """Count something that a sample has and the format has no place for, where `Carries` cannot say so."""

    def table(self, path: str, schema: Any, rows: Iterable[dict[str, Any]]) -> int:
        """Write rows as a Parquet file of the export, row group by row group; how many groups it has.

        The rows are taken one by one, and never held all at once.
        """


class Made(Protocol):
    """What is there when all parts are: for a format's own index, configuration and hints."""

    @property
    def store(self) -> Store:
        """The export's folder."""

    @property
    def place(self) -> str:
        """Where that is: an absolute path, or a URL. Configuration that names files may have it."""

    @property
    def parts(self) -> int: ...

    @property
    def examples(self) -> int: ...

    def lines(self, index: str) -> Iterator[Any]:
        """The values of an index, in the order of all samples, one by one."""

    def write_lines(self, path: str, index: str) -> None:
        """Write an index as a JSONL file of the export."""

    def write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file of the export, piece by piece."""

    def text(self, path: str, text: str) -> None:
        """Write a text file of the export."""


class Format(Protocol):
    """One layout. It has no state: the same samples give the same bytes."""

    @property
    def name(self) -> str:
        """What --to takes."""

    @property
    def summary(self) -> str:
        """What it is for, in a line of --help."""

    @property
    def reader(self) -> str:
        """The code that it was checked against: repository@commit:path."""

    @property
    def carries(self) -> Carries: ...

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the samples of a part; all of them, in their order."""

    def finish(self, made: Made) -> None:
        """Write what belongs to the export as a whole: indices, configuration for the trainer."""

    def places(self, sample: Sample) -> Iterable[Place]:
        """Where each thing of a sample is, in the order in which it is to be explained."""

    def how_to(self) -> str:
        """How the trainer is pointed at the export: a few lines of Markdown for SAMPLE.md, with FOLDER for its path."""
