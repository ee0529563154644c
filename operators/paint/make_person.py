"""The first person of a pose pair, from a prompt (paper section 4.5), where the source brings no photo of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject
from operators.batching import each_pair
from operators.models.diffusion import (
    SAMPLING,
    TEXT_TO_IMAGE,
    Family,
    FamilyPainter,
    Order,
    pictures,
    pipeline,
    side_px,
    steps_of,
)


@dataclass(frozen=True, kw_only=True)
class MakePerson(FamilyPainter):
    """Makes the input from the text "person_prompt"; a pair that has an input stays as it is.

    Square, of the side that the model was trained at. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "make_person"
    version: ClassVar[int] = 2
    roles: ClassVar[Mapping[Family, tuple[str, ...]]] = {"sd15": ("sd15",), "flux": ("flux",)}

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return each_pair(pairs, seeds, self._ordered, self._pictures, self._made)

    def _pipeline(self) -> Any:
        return pipeline(TEXT_TO_IMAGE[self.family], self.folders[0])

    def _ordered(self, pair: Pair, seed: int) -> Sequence[Order]:
        if pair.image("input"):
            return []
        side = side_px(self._pipeline())
        return [Order(prompt=pair.texts["person_prompt"], seed=seed, size_px=(side, side))]

    def _pictures(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return pictures(self._pipeline(), orders, self.at_once, SAMPLING[self.family])

    def _made(self, pair: Pair, seed: int, made: Sequence[Pixels]) -> Pair:
        if not made:
            return pair
        sampling = SAMPLING[self.family]
        steps = steps_of(
            self.name,
            self.version,
            ("generator",),
            self.models,
            params={"steps": sampling.steps, "guidance": sampling.guidance},
            seed=seed,
            prompt=pair.texts["person_prompt"],
        )
        return replace(pair, images=(encode_lossless("input", made[0]), *pair.images), steps=(*pair.steps, *steps))
