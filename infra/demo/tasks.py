"""The demo's own tasks, beside the catalogue's: a photo gets other colours, and which ones only the example tells.

All three have the same instructions and the same inputs. So what the model makes of a photo is right by chance only,
unless it looks at the in-context example.

xprompt shards infra.demo.tasks:NEGATIVE --data PHOTOS --out OUT
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Step
from operators.base import OnlyUnpaired
from operators.judge.gate import Gate
from operators.word.instruct import Instruct
from pipelines.sources.datasets import PHOTOS
from pipelines.tasks.task import ONE, Task

Colours = Literal["negative", "swapped", "grey"]

_LUMA = np.array([0.299, 0.587, 0.114])
"""The weights of ITU-R BT.601, section 2.5.1."""


@dataclass(frozen=True, kw_only=True)
class Recolour(OnlyUnpaired):
    """Makes the photo the input, and the target of it: its negative; the photo with red and blue in each
    other's place; or its luma.
    """

    name: ClassVar[str] = "recolour"
    version: ClassVar[int] = 1
    colours: Colours

    def __call__(self, pair: Pair, seed: int) -> Pair:
        photo = pair.image("target")
        assert photo, "there is a photo to recolour"
        pixels = decode_rgb(photo.data)
        images = (encode_lossless("input", pixels), encode_lossless("target", recoloured(pixels, self.colours)))
        step = Step(operator=self.name, version=self.version, params={"colours": self.colours})
        return replace(pair, images=images, steps=(*pair.steps, step))


def recoloured(pixels: Pixels, colours: Colours) -> Pixels:
    """A picture, [h, w, 3] RGB, in other colours."""
    if colours == "negative":
        return 255 - pixels
    if colours == "swapped":
        return np.ascontiguousarray(pixels[..., ::-1])
    return np.repeat(np.rint(pixels @ _LUMA).astype(np.uint8)[..., None], 3, 2)


def _recolour(colours: Colours) -> Task:
    return Task(
        name=f"recolour-{colours}",
        sources=(PHOTOS,),
        bundled=PHOTOS,
        chain=(
            Recolour(colours=colours),
            Gate(),
            Instruct(
                forward=(
                    "Recolour the photo as the example was recoloured.",
                    "Do to the colours what was done in the example.",
                )
            ),
        ),
        examples=ONE,
    )


NEGATIVE = _recolour("negative")
SWAPPED = _recolour("swapped")
GREY = _recolour("grey")
