"""Reads try-on pairs without a target from the bundled photos: the input that needs no download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from manifests.images.pixels import NEW_IMAGE_FORMAT, decode_rgb, encode_lossless
from manifests.schema import Item, Pair, Step, pair_key
from operators.read.bundled import PHOTOS, draw_crop, packaged, packages_root
from operators.read.files import SourceFile, read_file

_PERSON = "skimage/data/astronaut.png"
_SUIT = (slice(200, 512), slice(20, 400))
"""Rows and columns of the photo that the space suit fills."""

_CLOTHS = ("brick", "grass", "gravel", "coffee")
"""Photos of skimage.data with a texture of which something could be made."""


@dataclass(frozen=True, kw_only=True)
class BundledPerson:
    """The astronaut, the suit's place masked out, and as garment a square crop of another photo, by its own reference.

    For looking at the chain, not for training: nobody is dressed in these.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: ClassVar[str] = "scikit-image photos"
    licence: ClassVar[str] = "public domain and CC0-1.0"
    crops_per_photo: int = 2
    side_px: int = 256

    @property
    def root(self) -> str:
        return packages_root()

    def listing(self) -> Sequence[SourceFile]:
        return packaged([_PERSON, *(f"skimage/data/{name}.png" for name in _CLOTHS)])

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return self

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for file in listing:
            for index in range(self.crops_per_photo if file.path != _PERSON else 0):
                yield Item(ref=f"{file.path}#{index}", files=(_PERSON, file.path), index=index, bytes=file.bytes)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return dict.fromkeys(("person", "cloth", "mask", "target"), NEW_IMAGE_FORMAT)

    def read(self, item: Item, task: str) -> Pair:
        data = [read_file(self.root, path) for path in item.files]
        person, cloth = (decode_rgb(content) for content in data)
        window, step = draw_crop(cloth.shape[0], cloth.shape[1], self.side_px, item.ref)
        mask = np.zeros_like(person)
        mask[_SUIT] = 255
        images = {"person": np.where(mask, np.uint8(128), person), "cloth": cloth[window], "mask": mask}
        return Pair(
            key=pair_key(task, item.ref, *data),
            source=self.source,
            source_ref=item.ref,
            licence=f"{PHOTOS[_PERSON]}; {PHOTOS[item.files[1]]}",
            images=tuple(encode_lossless(role, np.ascontiguousarray(pixels)) for role, pixels in images.items()),
            group=item.files[1],
            steps=(Step(operator="mask_suit", version=1, params={"role": "person"}), step),
        )
