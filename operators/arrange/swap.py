"""Turns a pair round: what was the target becomes the input (controllable generation from dense annotations)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from manifests.schema import Pair, Step


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Exchanges input and target. "depth to image" reads the same source as "image to depth", the other way round."""

    name: ClassVar[str] = "swap"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        other = {"input": "target", "target": "input"}
        images = tuple(replace(image, role=other.get(image.role, image.role)) for image in pair.images)
        step = Step(operator=self.name, version=self.version)
        return replace(pair, images=images, steps=(*pair.steps, step))
