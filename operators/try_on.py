"""A garment put on a person, by concatenation (CatVTON, arXiv 2407.15886), for persons whose photo in it is missing.

Written from the paper's section 3 on diffusers' Stable Diffusion 1.5 inpainting. Person and garment lie side by side in
one picture of twice the width; self-attention carries the garment over, text and its cross-attention are left out. Only
the person's half is masked, and only it is kept. The self-attention must have been trained for that: with the weights
of plain inpainting the chain runs and the garment is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import cv2
import numpy as np

from manifests.images import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair
from operators import checkpoints
from operators.base import StopRun
from operators.diffusion import PICTURE_GPU_S, found, like, picture, pipeline, steps_of

_ROLES = ("sd15-inpaint", "sd15-tryon")
_PARTS = ("autoencoder and schedule", "unet")


@dataclass(frozen=True, kw_only=True)
class TryOn:
    """Makes the target of a pair with person, mask (white where the garment goes) and cloth; one with a target stays.

    The target has the person's size, and outside of the mask the person's pixels. Rejects: out_of_memory.
    """

    name: ClassVar[str] = "try_on"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 0.5
    steps: int = 50
    guidance: float = 2.5
    """Both: section 4.2 of the paper, with the DDIM sampler."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of the inpainting model and of the UNet."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S["sd15"] if self.folders else 0.0

    def bound(self, models: str | None) -> Self:
        """Where checkpoints are not there the operator stays without: pairs as published need none."""
        if not all(checkpoints.has(models, role) for role in _ROLES):
            return self
        folders, identities = found(models, _ROLES)
        return replace(self, folders=folders, models=identities)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.image("target"):
            return pair
        if not self.folders:
            raise StopRun(f"a pair has no target, and MODELS has no {' or '.join(_ROLES)} to make it with")
        person, mask, cloth = (self._pixels(pair, role) for role in ("person", "mask", "cloth"))
        made = picture(lambda generator: self._made(person, mask, cloth, generator), seed)
        height_px, width_px = person.shape[:2]
        worn = cv2.resize(made, (width_px, height_px), interpolation=cv2.INTER_LANCZOS4)
        target = np.where(mask[..., :1] > 127, worn, person)
        params = {"steps": self.steps, "guidance": self.guidance}
        steps = steps_of(self.name, self.version, _PARTS, self.models, params=params, seed=seed)
        return replace(pair, images=(*pair.images, encode_lossless("target", target)), steps=(*pair.steps, *steps))

    def _pixels(self, pair: Pair, role: str) -> Pixels:
        image = pair.image(role)
        assert image, f"to try something on takes a {role}"
        return decode_rgb(image.data)

    def _made(self, person: Pixels, mask: Pixels, cloth: Pixels, generator: Any) -> Any:
        """`images` of the pipelines' kind: one picture, H x W x 3 in [0, 1]."""
        import torch
        from diffusers import DDIMScheduler

        base, unet_folder = self.folders
        pipe = pipeline("StableDiffusionInpaintPipeline", base, (("unet", "UNet2DConditionModel", unet_folder),))
        without_text(pipe.unet)
        scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        scheduler.set_timesteps(self.steps, device=pipe.device)
        height_px, width_px = like(pipe, person.shape[1], person.shape[0])

        def latents(pixels: Pixels) -> Any:
            resized = cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA)
            tensor = torch.tensor(resized).permute(2, 0, 1)[None].to(pipe.device, pipe.vae.dtype) / 127.5 - 1
            return pipe.vae.encode(tensor).latent_dist.mode() * pipe.vae.config.scaling_factor

        masked, worn = latents(np.where(mask > 127, np.uint8(127), person)), latents(cloth)
        small = cv2.resize(mask[..., 0], (masked.shape[-1], masked.shape[-2]), interpolation=cv2.INTER_AREA)
        hole = torch.tensor(small > 127)[None, None].to(masked)
        holes = torch.cat([hole, torch.zeros_like(hole)], -1).repeat(2, 1, 1, 1)
        # Without guidance the garment is nothing: zeros, as it was dropped in training.
        known = torch.cat([torch.cat([masked, torch.zeros_like(worn)], -1), torch.cat([masked, worn], -1)])
        noisy = torch.randn((1, *known.shape[1:]), generator=generator).to(known) * scheduler.init_noise_sigma
        for time in scheduler.timesteps:
            both = scheduler.scale_model_input(noisy, time).repeat(2, 1, 1, 1)
            noise = pipe.unet(torch.cat([both, holes, known], 1), time, encoder_hidden_states=None).sample
            without, with_garment = noise.chunk(2)
            guided = torch.lerp(without, with_garment, self.guidance)
            noisy = scheduler.step(guided, time, noisy).prev_sample
        half = noisy[..., : masked.shape[-1]] / pipe.vae.config.scaling_factor
        image = pipe.vae.decode(half).sample.float()[0].permute(1, 2, 0)
        return SimpleNamespace(images=[(image / 2 + 0.5).clamp(0, 1).cpu().numpy()])


def without_text(unet: Any) -> None:
    """Take the cross-attention out of a UNet's transformer blocks, in place (section 3.2 of the paper)."""
    for module in unet.modules():
        if hasattr(module, "attn2"):
            module.attn2 = None
