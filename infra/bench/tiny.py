"""A task whose pairs cost next to nothing, so that what a work unit itself costs can be seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from manifests.images.pixels import encode_lossless
from manifests.schema import Item, Pair, pair_key
from operators.read.files import SourceFile
from operators.word.instruct import Instruct
from pipelines.tasks.task import Task

_PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
_INPUT, _TARGET = encode_lossless("input", _PIXELS), encode_lossless("target", 255 - _PIXELS)


@dataclass(frozen=True, kw_only=True)
class TinyPairs:
    """`count` pairs of 8 x 8 px images that were encoded once per process."""

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: ClassVar[str] = "tiny"
    licence: ClassVar[str] = "none"
    root: ClassVar[str] = ""
    count: int

    def listing(self) -> Sequence[SourceFile]:
        return ()

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return self

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        return (Item(ref=str(index), files=(), index=index) for index in range(self.count))

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": "png", "target": "png"}

    def read(self, item: Item, task: str) -> Pair:
        return Pair(
            key=pair_key(task, item.ref),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(_INPUT, _TARGET),
            group=item.ref,
        )


TINY = Task(
    name="tiny",
    prototype_task="low-level",
    sources=(),
    chain=(Instruct(forward=("Go.",)),),
    examples=(("forward", "generate"),),
    pairs_per_shard=1,
)
"""One pair a shard: every item is a work unit."""
