"""Pictures by FLUX.1 from prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject, seed_for
from operators.models.checkpoints import folders_and_identities
from operators.models.diffusion import (
    AT_ONCE,
    FAMILY_GPUS,
    PICTURE_GPU_S,
    TEXT_TO_IMAGE,
    Denoising,
    Order,
    PictureOperator,
    painted,
    painting_gib,
    pipeline,
    side_px,
    steps_of,
)


@dataclass(frozen=True, kw_only=True)
class Flux(PictureOperator):
    """Adds one picture for each of `prompts`: (role of the image, name of the text that is its prompt).

    Square, of the side that the checkpoint's VAE was trained at (its config's sample_size; 1,024 px for FLUX.1).
    Rejects: out_of_memory.
    """

    name: ClassVar[str] = "flux"
    version: ClassVar[int] = 2
    gpus: ClassVar[float] = FAMILY_GPUS["flux"]
    loads: ClassVar[tuple[str, ...]] = ("flux",)
    prompts: tuple[tuple[str, str], ...]
    steps: int = 28
    guidance: float = 3.5
    """Steps and guidance are diffusers' defaults: FluxPipeline.__call__."""

    @property
    def gpu_s(self) -> float:
        return len(self.prompts) * PICTURE_GPU_S["flux"]

    @property
    def working_gib(self) -> float:
        return painting_gib("flux")

    def bound(self, models: str | None) -> Self:
        folders, identities = folders_and_identities(models, self.loads)
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE["flux"])

    @property
    def _denoising(self) -> Denoising:
        return Denoising(steps=self.steps, guidance=self.guidance)

    def _pipeline(self) -> Any:
        return pipeline(TEXT_TO_IMAGE["flux"], self.folders[0])

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        side = side_px(self._pipeline())
        return [
            Order(prompt=pair.texts[text], seed=seed_for(seed, role), size_px=(side, side))
            for role, text in self.prompts
        ]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return painted(self._pipeline(), orders, self.at_once, self._denoising)

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        for (role, text), pixels in zip(self.prompts, pictures, strict=True):
            steps = steps_of(
                self.name,
                self.version,
                (role,),
                self.models,
                params=self._denoising.params,
                seed=seed_for(seed, role),
                prompt=pair.texts[text],
            )
            images = (*pair.images, encode_lossless(role, pixels))
            pair = replace(pair, images=images, steps=(*pair.steps, *steps))
        return pair
