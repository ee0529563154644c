"""Pictures by FLUX.1 from prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject, seed_for
from operators.batching import PAIRS, each_pair
from operators.models.diffusion import (
    AT_ONCE,
    PICTURE_GPU_S,
    TEXT_TO_IMAGE,
    Order,
    Sampling,
    found,
    pictures,
    pipeline,
    side_px,
    steps_of,
)


@dataclass(frozen=True, kw_only=True)
class Flux:
    """Adds one picture for each of `prompts`: (role of the image, name of the text that is its prompt).

    Square, of the side that the checkpoint's VAE was trained at (its config's sample_size; 1,024 px for FLUX.1).
    Rejects: out_of_memory.
    """

    name: ClassVar[str] = "flux"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = PAIRS
    gpus: ClassVar[float] = 1.0
    prompts: tuple[tuple[str, str], ...]
    steps: int = 28
    guidance: float = 3.5
    """Both are diffusers' defaults: FluxPipeline.__call__."""
    at_once: int = 0
    """Pictures in a batch (AT_ONCE), set by `bound`: bytes depend on it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of the checkpoint."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    @property
    def gpu_s(self) -> float:
        return len(self.prompts) * PICTURE_GPU_S["flux"]

    def bound(self, models: str | None) -> Self:
        folders, identities = found(models, ["flux"])
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE["flux"])

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return each_pair(pairs, seeds, self._ordered, self._pictures, self._made)

    def _pipeline(self) -> Any:
        return pipeline(TEXT_TO_IMAGE["flux"], self.folders[0])

    def _ordered(self, pair: Pair, seed: int) -> Sequence[Order]:
        side = side_px(self._pipeline())
        return [
            Order(prompt=pair.texts[text], seed=seed_for(seed, role), size_px=(side, side))
            for role, text in self.prompts
        ]

    def _pictures(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        sampling = Sampling(steps=self.steps, guidance=self.guidance)
        return pictures(self._pipeline(), orders, self.at_once, sampling)

    def _made(self, pair: Pair, seed: int, made: Sequence[Pixels]) -> Pair:
        for (role, text), pixels in zip(self.prompts, made, strict=True):
            steps = steps_of(
                self.name,
                self.version,
                (role,),
                self.models,
                params={"steps": self.steps, "guidance": self.guidance},
                seed=seed_for(seed, role),
                prompt=pair.texts[text],
            )
            images = (*pair.images, encode_lossless(role, pixels))
            pair = replace(pair, images=images, steps=(*pair.steps, *steps))
        return pair
