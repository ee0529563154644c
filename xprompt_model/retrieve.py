"""Retrieval-augmented image editing at inference (paper section 3.3): the in-context example for an instruction is that
pair of a dataset whose instruction is nearest to it, by cosine similarity of text features.

A dataset directory is read as it lies on disk: `manifest/*.parquet` names, for each example, its instruction and the
shard, offset and length of its images. Instructions are embedded by `MiniLM` or `ClipText` of
operators/shared/texts.py, by which the contexts in training data were chosen too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from operators.shared.pixels import read_image
from operators.shared.texts import Vectors

Pixels = NDArray[np.uint8]
"""[h, w, 3] RGB."""

Embed = Callable[[Sequence[str]], Vectors]
"""Turns texts into vectors, [n, d], of length 1."""

_SEARCHED = ["pair", "direction", "kind", "instruction", "inputs"]
"""Columns that are read of all rows; the places of the images are read of the row that is found."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An in-context example."""

    instruction: str
    inputs: tuple[Pixels, ...]
    output: Pixels | str
    """An image, or a text if the example describes."""
    pair: str = ""
    """The key of the example's pair, if it is from a dataset."""
    score: float = 1.0
    """Cosine similarity of its instruction to the one asked for."""


class ContextDatabase:
    """The examples of a finished dataset, by their instructions.

    Each distinct instruction is embedded once, when the first is asked for: about 100 a second and CPU, so at
    once for a task's pool of ten, and for a million pairs that have one each in hours.
    """

    def __init__(self, folder: Path | str, embed: Embed) -> None:
        """Raises ValueError if the folder holds no manifests."""
        self._folder, self._embed = Path(folder), embed
        self._files = sorted((self._folder / "manifest").glob("*.parquet"))
        if not self._files:
            raise ValueError(f"{folder} is not a dataset directory: it has no manifest/*.parquet")
        tables = [self._read(file, _SEARCHED) for file in self._files]
        self._lengths = [len(table) for table in tables]
        self._rows = pa.concat_tables(tables)

    def nearest(self, instruction: str, *, inputs: int, describe: bool = False, count: int = 1) -> list[Example]:
        """The examples of the same kind, and with as many input images, whose instructions are nearest, of a pair one.

        Where none are asked with, as of a pose, they have those that they show: their pair's "input", if there is one.
        The nearest comes first; of equally near ones the lowest pair and direction. Raises ValueError if there are
        fewer than `count`, or their images are gone.
        """
        kind, described = self._rows["kind"].to_pylist(), "describe" if describe else "generate"
        counts = [len(roles) for roles in self._rows["inputs"].to_pylist()]
        rows = [row for row in range(len(kind)) if kind[row] == described and counts[row] == inputs]
        if not rows:
            raise ValueError(f"{self._folder} has no {described} example with {inputs} input images")
        texts, features = self._features
        asked = self._embed([instruction])[0]
        by_text = dict(zip(texts, np.round(features @ asked, 6).tolist(), strict=True))  # float32 says no more
        said, pairs, directions = (self._rows[name].to_pylist() for name in ("instruction", "pair", "direction"))
        rows.sort(key=lambda row: (-by_text[said[row]], pairs[row], directions[row]))
        of_pairs = {pairs[row]: row for row in reversed(rows)}
        if len(of_pairs) < count:
            few = f"{len(of_pairs):,} pairs with {described} examples of {inputs} input images"
            raise ValueError(f"{self._folder} has {few}, not {count:,}")
        best = sorted(of_pairs.values(), key=rows.index)[:count] if count > 1 else rows[:1]
        return [self._example(row, by_text[said[row]]) for row in best]

    @cached_property
    def _features(self) -> tuple[list[str], Vectors]:
        texts = sorted(set(self._rows["instruction"].to_pylist()))
        return texts, self._embed(texts)

    def _example(self, index: int, score: float) -> Example:
        file = 0
        while index >= self._lengths[file]:
            index -= self._lengths[file]
            file += 1
        row = self._read(self._files[file], None).slice(index, 1).to_pylist()[0]
        places = {place["role"]: place for place in row["images"]}

        def image(role: str) -> Pixels:
            return self._image(row["shard"], places[role]["offset"], places[role]["bytes"])

        return Example(
            pair=row["pair"],
            score=score,
            instruction=row["instruction"],
            # As manifests.schema.shown_inputs has it in training.
            inputs=tuple(image(role) for role in row["inputs"] or [role for role in ("input",) if role in places]),
            output=row["text"] if row["output"] is None else image(row["output"]),
        )

    def _read(self, file: Path, columns: list[str] | None) -> Any:
        try:
            return pq.read_table(file, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{file} cannot be read: {error}") from None

    def _image(self, shard: str, offset: int, size: int) -> Pixels:
        path = self._folder / "shards" / Path(shard).name
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return read_image(file.read(size))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: the image at byte {offset} cannot be read: {error}") from None
