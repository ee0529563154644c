"""A task of one's own, with an operator of one's own: photos become hazy, and the task is to clear them up.

    xprompt shards infra/examples/dehaze.py:DEHAZE --data PHOTOS --out OUT

Haze by the model of atmospheric scattering (Koschmieder): I = J t + A (1 - t) with t = exp(-strength * depth). A photo
has no depth; its rows stand for it, far at the top and near at the bottom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Pair, Step
from operators.base import OnlyUnpaired
from operators.judge.degraded import Degraded
from operators.judge.gate import Gate
from operators.option import option
from operators.word.describe import Describe
from operators.word.instruct import Instruct
from pipelines.sources.datasets import BUNDLED, PHOTOS
from pipelines.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Haze(OnlyUnpaired):
    """Makes the input from the target by laying haze over it."""

    name: ClassVar[str] = "haze"
    version: ClassVar[int] = 1
    strength: float = option(1.5, "how thick the haze is at the most, in optical depths")
    airlight: float = option(0.9, "brightness of the haze, from 0 to 1")

    def __call__(self, pair: Pair, seed: int) -> Pair:
        target = pair.image("target")
        assert target, "there is a photo to lay haze over"
        clear = decode_rgb(target.data) / 255
        strength = self.strength * float(np.random.default_rng(seed).uniform(0.5, 1))
        share = np.exp(-strength * np.linspace(1, 0.2, len(clear)))[:, None, None]  # of the light that comes through
        hazy = ((clear * share + self.airlight * (1 - share)) * 255).round().astype(np.uint8)
        drawn = {"strength": round(strength, 3), "airlight": self.airlight}
        step = Step(operator=self.name, version=self.version, params=drawn, seed=seed)
        return replace(pair, images=(encode_lossless("input", hazy), *pair.images), steps=(*pair.steps, step))

    def in_words(self, params: Mapping[str, Any]) -> str:
        """What was done, for the describe examples."""
        return f"haze with an optical depth of {params['strength']} at the horizon"


DEHAZE = Task(
    name="dehaze",
    sources=(PHOTOS,),
    bundled=BUNDLED,
    chain=(
        Haze(),
        Gate(),
        Degraded(),
        Instruct(forward=("Remove the haze.", "Clear the fog away."), reverse=("Add haze.", "Let fog roll in.")),
        Describe(degrade=Haze(), forward=("{what} is taken away.",), reverse=("{what} is added.",)),
    ),
)
