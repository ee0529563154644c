"""The demo's own task, beside the catalogue's: photos whose colours have changed places get their own back.

xprompt shards infra.demo.tasks:RECOLOUR --data PHOTOS --out OUT
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Pair, Step
from operators.base import OnlyUnpaired
from operators.judge.gate import Gate
from operators.word.describe import Describe
from operators.word.instruct import Instruct
from pipelines.sources.datasets import PHOTOS
from pipelines.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class MoveColours(OnlyUnpaired):
    """Makes the input from the target: its red is the target's green, its green the blue, its blue the red."""

    name: ClassVar[str] = "move_colours"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        target = pair.image("target")
        assert target, "there is a photo whose colours can change places"
        moved = np.ascontiguousarray(np.roll(decode_rgb(target.data), -1, 2))
        step = Step(operator=self.name, version=self.version)
        return replace(pair, images=(encode_lossless("input", moved), *pair.images), steps=(*pair.steps, step))

    def in_words(self, params: Mapping[str, Any]) -> str:
        return "red, green and blue, each in the place of another"


RECOLOUR = Task(
    name="recolour",
    sources=(PHOTOS,),
    bundled=PHOTOS,
    chain=(
        MoveColours(),
        Gate(),
        Instruct(
            forward=("Give the photo its own colours.", "Put red, green and blue back."),
            reverse=("Let the colours change places.", "Move red, green and blue on."),
        ),
        Describe(degrade=MoveColours(), forward=("{what}, are put back.",), reverse=("{what}, are what it has now.",)),
    ),
)
