"""The first person of a pose, from a prompt (paper section 4.5), where the source brings no photo of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject
from operators.models.diffusion import (
    DENOISING,
    TEXT_TO_IMAGE,
    Family,
    FamilyPainter,
    Order,
    painted,
    pipeline,
    side_px,
    steps_of,
)


@dataclass(frozen=True, kw_only=True)
class MakePerson(FamilyPainter):
    """Makes the input from the text "person_prompt"; a pair that has an input stays as it is.

    Square, of the side that the model was trained at; the same for all pairs of a context group. Rejects:
    out_of_memory, unsafe.
    """

    name: ClassVar[str] = "make_person"
    version: ClassVar[int] = 3
    seeded_by_group: ClassVar[bool] = True
    roles: ClassVar[Mapping[Family, tuple[str, ...]]] = {"sd15": ("sd15",), "flux": ("flux",)}

    def _pipeline(self) -> Any:
        return pipeline(TEXT_TO_IMAGE[self.family], self.folders[0])

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        if pair.image("input"):
            return []
        side = side_px(self._pipeline())
        return [Order(prompt=pair.texts["person_prompt"], seed=seed, size_px=(side, side))]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return painted(self._pipeline(), orders, self.at_once, DENOISING[self.family])

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        if not pictures:
            return pair
        steps = steps_of(
            self.name,
            self.version,
            ("generator",),
            self.models,
            params=DENOISING[self.family].params,
            seed=seed,
            prompt=pair.texts["person_prompt"],
        )
        return replace(pair, images=(encode_lossless("input", pictures[0]), *pair.images), steps=(*pair.steps, *steps))
