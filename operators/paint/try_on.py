"""A garment put on a person, by concatenation (CatVTON, arXiv 2407.15886), for persons whose photo in it is missing.

Written from the paper's section 3 on diffusers' Stable Diffusion 1.5 inpainting. Person and garment lie side by side in
one picture of twice the width; self-attention carries the garment over, text and its cross-attention are left out. Only
the person's half is masked, and only it is kept. The self-attention must have been trained for that: with the weights
of plain inpainting the chain runs and the garment is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import cv2
import numpy as np

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject
from operators.base import StopRun
from operators.batching import in_batches
from operators.models import checkpoints
from operators.models.diffusion import (
    AT_ONCE,
    PICTURE_GPU_S,
    Order,
    PictureOperator,
    painting_gib,
    pipeline,
    resized,
    size_like,
    steps_of,
)

_ROLES = ("sd15-inpaint", "sd15-tryon")
_PARTS = ("autoencoder and schedule", "unet")


@dataclass(frozen=True, kw_only=True)
class TryOn(PictureOperator):
    """Makes the target of a pair with person, mask (white where the garment goes) and cloth; one with a target stays.

    The target has the person's size, and outside of the mask the person's pixels. Rejects: out_of_memory.
    """

    name: ClassVar[str] = "try_on"
    version: ClassVar[int] = 2
    steps: int = 50
    guidance: float = 2.5
    """Steps and guidance are those of the paper's section 4.2, with the DDIM sampler."""

    @property
    def gpus(self) -> float:
        return 0.5 if self.folders else 0.0

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S["sd15"] if self.folders else 0.0

    @property
    def loads(self) -> tuple[str, ...]:
        return _ROLES if self.folders else ()

    @property
    def working_gib(self) -> float:
        return painting_gib("sd15", wide=2) if self.folders else 0.0

    def bound(self, models: str | None) -> Self:
        """Where checkpoints are not there the operator stays without: pairs as published need none."""
        if not all(checkpoints.has(models, role) for role in _ROLES):
            return self
        folders, identities = checkpoints.folders_and_identities(models, _ROLES)
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE["sd15"])

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        if pair.image("target"):
            return []
        if not self.folders:
            raise StopRun(f"a pair has no target, and MODELS has no {' or '.join(_ROLES)} to make it with")
        person, mask, cloth = (self._pixels(pair, role) for role in ("person", "mask", "cloth"))
        size_px = size_like(self._pipeline(), person.shape[1], person.shape[0])
        whole = {"masked": np.where(mask > 127, np.uint8(127), person), "mask": mask, "cloth": cloth}
        images = {role: resized(pixels, size_px) for role, pixels in whole.items()}
        return [Order(prompt="", seed=seed, size_px=size_px, images=images)]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return in_batches(self._run, orders, self.at_once, alike=lambda order: order.size_px)

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        if not pictures:
            return pair
        person, mask = self._pixels(pair, "person"), self._pixels(pair, "mask")
        worn = cv2.resize(pictures[0], (person.shape[1], person.shape[0]), interpolation=cv2.INTER_LANCZOS4)
        target = np.where(mask[..., :1] > 127, worn, person)
        params = {"steps": self.steps, "guidance": self.guidance}
        steps = steps_of(self.name, self.version, _PARTS, self.models, params=params, seed=seed)
        return replace(pair, images=(*pair.images, encode_lossless("target", target)), steps=(*pair.steps, *steps))

    def _pixels(self, pair: Pair, role: str) -> Pixels:
        image = pair.image(role)
        assert image, f"to try something on takes a {role}"
        return decode_rgb(image.data)

    def _pipeline(self) -> Any:
        base, unet = self.folders
        pipe = pipeline("StableDiffusionInpaintPipeline", base, (("unet", "UNet2DConditionModel", unet),))
        without_text(pipe.unet)
        return pipe

    def _run(self, orders: Sequence[Order]) -> list[Pixels]:
        """The persons of orders of one size, each in the garment."""
        import torch
        from diffusers import DDIMScheduler
        from torch.nn import functional

        pipe = self._pipeline()
        scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        scheduler.set_timesteps(self.steps, device=pipe.device)

        def tensor(role: str) -> Any:
            pixels = np.stack([order.images[role] for order in orders])
            return torch.tensor(pixels).permute(0, 3, 1, 2).to(pipe.device, pipe.vae.dtype)

        def latents(role: str) -> Any:
            return pipe.vae.encode(tensor(role) / 127.5 - 1).latent_dist.mode() * pipe.vae.config.scaling_factor

        with torch.no_grad():
            masked, worn = latents("masked"), latents("cloth")
            covered = functional.interpolate(tensor("mask")[:, :1], masked.shape[-2:], mode="area")
            hole = (covered > 127).to(masked)
            holes = torch.cat([hole, torch.zeros_like(hole)], -1).repeat(2, 1, 1, 1)
            # Without guidance the garment is nothing: zeros, as it was dropped in training.
            known = torch.cat([torch.cat([masked, torch.zeros_like(worn)], -1), torch.cat([masked, worn], -1)])
            shape = known.shape[1:]
            noisy = [torch.randn(shape, generator=torch.Generator().manual_seed(order.seed)) for order in orders]
            noisy = torch.stack(noisy).to(known) * scheduler.init_noise_sigma
            for time in scheduler.timesteps:
                both = scheduler.scale_model_input(noisy, time).repeat(2, 1, 1, 1)
                noise = pipe.unet(torch.cat([both, holes, known], 1), time, encoder_hidden_states=None).sample
                without, with_garment = noise.chunk(2)
                guided = torch.lerp(without, with_garment, self.guidance)
                noisy = scheduler.step(guided, time, noisy).prev_sample
            half = noisy[..., : masked.shape[-1]] / pipe.vae.config.scaling_factor
            decoded = pipe.vae.decode(half).sample.float().permute(0, 2, 3, 1)
        pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        return [np.ascontiguousarray(one) for one in pixels]


def without_text(unet: Any) -> None:
    """Take the cross-attention out of a UNet's transformer blocks, in place (section 3.2 of the paper)."""
    for module in unet.modules():
        if hasattr(module, "attn2"):
            module.attn2 = None
