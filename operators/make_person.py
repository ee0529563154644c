"""The first person of a pose pair, from a prompt (paper section 4.5), where the source brings no photo of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from manifests.images import Pixels, encode_lossless
from manifests.schema import Pair, Reject
from operators.batching import PAIRS, each_pair
from operators.diffusion import (
    AT_ONCE,
    PICTURE_GPU_S,
    SAMPLING,
    TEXT_TO_IMAGE,
    Family,
    Order,
    found,
    pictures,
    pipeline,
    side_px,
    steps_of,
)


@dataclass(frozen=True, kw_only=True)
class MakePerson:
    """Makes the input from the text "person_prompt"; a pair that has an input stays as it is.

    Square, of the side that the model was trained at. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "make_person"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = PAIRS
    gpus: ClassVar[float] = 1.0
    family: Family = "sd15"
    at_once: int = 0
    """Pictures in a batch (AT_ONCE), set by `bound`: bytes depend on it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of the generator."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    def of_family(self, family: Family) -> Self:
        return replace(self, family=family)

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S[self.family]

    def bound(self, models: str | None) -> Self:
        folders, identities = found(models, [self.family])
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE[self.family])

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
        sampling = SAMPLING[self.family]
        return pictures(
            self._pipeline(),
            orders,
            self.at_once,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
        )

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
