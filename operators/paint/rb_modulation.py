"""RB-Modulation: the input image's content in another image's style, without training (arXiv 2405.17401).

Written anew on diffusers' networks of Stable Cascade, with the formulas and numbers of the authors' code:
operators/models/rb/ has the sampling, the optimal control of the latents, the attention and the decoder,
operators/models/cascade.py and operators/models/csd.py the models. One picture goes through the models at a time: each
step of control holds its gradient through previewer and descriptor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Self

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject, Step
from operators.batching import in_batches
from operators.models.checkpoints import folders_and_identities
from operators.models.device import prepared_device
from operators.models.diffusion import Order, resized, with_pictures
from operators.models.rb.parameters import STAGE_B, Sampling, StageCSampling, mode_of

_GRID_PX = 128
"""Sides of pictures: stage C's latents are 3/128 of them (42.67 px each)."""


@dataclass(frozen=True, kw_only=True)
class RbModulation:
    """Makes the target: what the text `prompt` says, in the style of the image `style`, with the content of the input.

    Without an input it is the style alone that is transferred. The target has the input's size, or the style image's:
    Stable Cascade makes the next multiples of 128 px, which are resized. Rejects: out_of_memory, not_finite.
    """

    name: ClassVar[str] = "rb_modulation"
    version: ClassVar[int] = 3
    gpus: ClassVar[float] = 1.0
    gpu_s: ClassVar[float] = 60.0  # of which most is the gradient of the style through the previewer, step by step
    batch_size: ClassVar[int] = 1
    at_once: ClassVar[int] = 1
    loads: ClassVar[tuple[str, ...]] = ("stable-cascade-prior", "stable-cascade", "csd")
    working_gib: ClassVar[float] = 4.0
    """Assumed, not measured: stage A decodes a picture of 1,024 px as other VAEs do; gradients take a tenth of that."""
    sampling: StageCSampling = field(default_factory=StageCSampling)
    """Of stage C."""
    decoding: Sampling = STAGE_B
    """Of stage B."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of the prior, the decoder and the style descriptor."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    def bound(self, models: str | None) -> Self:
        folders, identities = folders_and_identities(models, self.loads)
        return replace(self, folders=folders, models=identities)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        return with_pictures(self, pairs, seeds)

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        style, base = pair.image("style"), pair.image("input")
        assert style, "there is a style to transfer"
        shape = base or style
        images = {"style": decode_rgb(style.data), **({"content": decode_rgb(base.data)} if base else {})}
        size_px = (_next(shape.height_px), _next(shape.width_px))
        return [Order(prompt=pair.texts["prompt"], seed=seed, size_px=size_px, images=images)]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return in_batches(self._run, orders, self.at_once)

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        shape = pair.image("input") or pair.image("style")
        assert shape
        target = resized(pictures[0], (shape.height_px, shape.width_px))
        params = {
            "prior": {**asdict(self.sampling), **asdict(mode_of(pair.image("input") is not None))},
            "decoder": {"part": "decoder", **asdict(self.decoding)},
            "csd": {"part": "csd"},
        }
        steps = [
            Step(
                operator=self.name,
                version=self.version,
                params=params[part],
                seed=seed,
                model=model,
                model_revision=revision,
                prompt=pair.texts["prompt"] if part != "csd" else None,
            )
            for part, (model, revision) in zip(("prior", "decoder", "csd"), self.models, strict=True)
        ]
        return replace(pair, images=(*pair.images, encode_lossless("target", target)), steps=(*pair.steps, *steps))

    def _run(self, orders: Sequence[Order]) -> list[Pixels | Reject]:
        """The picture of the one order of a batch."""
        from operators.models.cascade import load_cascade
        from operators.models.csd import load_csd
        from operators.models.rb.stylise import stylise

        device = prepared_device()
        prior, decoder, csd = self.folders
        (order,) = orders
        try:
            picture = stylise(
                load_cascade(prior, decoder, device),
                load_csd(csd, device),
                order.prompt,
                order.images["style"],
                order.images.get("content"),
                order.seed,
                sampling=self.sampling,
                decoding=self.decoding,
                size_px=order.size_px,
            )
        except Reject as reject:
            return [reject]
        return [picture]


def _next(side_px: int) -> int:
    """The multiple of _GRID_PX that is not below."""
    return -(-side_px // _GRID_PX) * _GRID_PX
