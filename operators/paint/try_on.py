"""A garment put on a person, by concatenation (CatVTON, arXiv 2407.15886), for persons whose photo in it is missing.

Written from the paper's section 3 and from what its authors' code does, on diffusers' Stable Diffusion 1.5 inpainting.
Person and garment lie in one picture of twice the size; self-attention carries the garment over, text and its
cross-attention are left out. Only the person's half is masked, and only it is kept. The self-attention must have been
trained for that, and the checkpoint says how (operators/models/catvton.py): with the weights of plain inpainting the
chain runs and the garment is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import cv2
import numpy as np

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject
from operators.base import StopRun
from operators.batching import in_batches
from operators.models import checkpoints
from operators.models.catvton import Trained, without_text
from operators.models.diffusion import (
    AT_ONCE,
    Order,
    PictureOperator,
    painting_gib,
    painting_s,
    pipeline,
    resized,
    size_like,
    squares_of,
    steps_of,
)
from operators.shared.finite import not_finite

_ROLES = ("sd15-inpaint", "sd15-tryon")
_PARTS = ("autoencoder and schedule", "unet")


@dataclass(frozen=True, kw_only=True)
class TryOn(PictureOperator):
    """Makes the target of a pair with person, mask (white where the garment goes) and cloth; one with a target stays.

    The target has the person's size, and outside of the mask the person's pixels. Rejects: out_of_memory, not_finite.
    """

    name: ClassVar[str] = "try_on"
    version: ClassVar[int] = 3
    steps: int = 50
    guidance: float = 2.5
    """Steps and guidance are those of the paper's section 4.2, with the DDIM sampler."""
    trained: Trained | None = None
    """How the checkpoint was trained, set by `bound`; None without one."""

    @property
    def gpus(self) -> float:
        return 0.5 if self.trained else 0.0

    @property
    def gpu_s(self) -> float:
        return painting_s("sd15", self.steps, _squares(self.trained)) if self.trained else 0.0

    @property
    def loads(self) -> tuple[str, ...]:
        return _ROLES if self.trained else ()

    @property
    def working_gib(self) -> float:
        if not self.trained:
            return 0.0
        return painting_gib("sd15", _squares(self.trained)) * _at_once(self.trained) / AT_ONCE["sd15"]

    def bound(self, models: str | None) -> Self:
        """Where checkpoints are not there the operator stays without: pairs as published need none.

        Raises ValueError, one line, if the UNet's does not say how it was trained.
        """
        if not all(checkpoints.has(models, role) for role in _ROLES):
            return self
        folders, identities = checkpoints.folders_and_identities(models, _ROLES)
        trained = Trained.of(folders[1])
        return replace(self, folders=folders, models=identities, trained=trained, at_once=_at_once(trained))

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        if pair.image("target"):
            return []
        if not self.trained:
            raise StopRun(f"a pair has no target, and MODELS has no {' or '.join(_ROLES)} to make it with")
        person, mask, cloth = (self._pixels(pair, role) for role in ("person", "mask", "cloth"))
        area_px = self.trained.height_px * self.trained.width_px
        size_px = size_like(self._pipeline(), person.shape[1], person.shape[0], area_px)
        images = {
            "person": resized(person, size_px),
            "mask": resized(mask, size_px),
            "cloth": _on_white(cloth, size_px),
        }
        return [Order(prompt="", seed=seed, size_px=size_px, images=images)]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return in_batches(self._run, orders, self.at_once, alike=lambda order: order.size_px)

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        if not pictures:
            return pair
        person, mask = self._pixels(pair, "person"), self._pixels(pair, "mask")
        worn = cv2.resize(pictures[0], (person.shape[1], person.shape[0]), interpolation=cv2.INTER_LANCZOS4)
        target = np.where(mask[..., :1] > 127, worn, person)
        assert self.trained
        params = {"steps": self.steps, "guidance": self.guidance, "trained": asdict(self.trained)}
        steps = steps_of(self.name, self.version, _PARTS, self.models, params=params, seed=seed)
        return replace(pair, images=(*pair.images, encode_lossless("target", target)), steps=(*pair.steps, *steps))

    def _pixels(self, pair: Pair, role: str) -> Pixels:
        image = pair.image(role)
        assert image, f"to try something on takes a {role}"
        return decode_rgb(image.data)

    def _pipeline(self) -> Any:
        assert self.trained
        base, own = self.folders
        parts = [("unet", "UNet2DConditionModel", own)]
        if self.trained.vae == "own":
            parts.append(("vae", "AutoencoderKL", str(Path(own, "vae"))))
        pipe = pipeline("StableDiffusionInpaintPipeline", base, tuple(parts))
        without_text(pipe.unet, self.trained.cross_attention)
        return pipe

    def _run(self, orders: Sequence[Order]) -> list[Pixels | Reject]:
        """The persons of orders of one size, each in the garment.

        The authors' code encodes a picture by a draw from what the VAE says, here its mean is taken.
        """
        import torch
        from diffusers import DDIMScheduler
        from torch.nn import functional

        assert self.trained
        pipe, axis = self._pipeline(), self.trained.dimension
        scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        scheduler.set_timesteps(self.steps, device=pipe.device)

        def tensor(role: str) -> Any:
            pixels = np.stack([order.images[role] for order in orders])
            return torch.tensor(pixels).permute(0, 3, 1, 2).to(pipe.device, torch.float32)

        def latents(values: Any) -> Any:
            return pipe.vae.encode(values.to(pipe.vae.dtype)).latent_dist.mode() * pipe.vae.config.scaling_factor

        with torch.no_grad():
            free = (tensor("mask")[:, :1] <= 127).float()
            masked, worn = latents((tensor("person") / 127.5 - 1) * free), latents(tensor("cloth") / 127.5 - 1)
            hole = functional.interpolate(1 - free, masked.shape[-2:], mode="nearest").to(masked)
            holes = torch.cat([hole, torch.zeros_like(hole)], axis).repeat(2, 1, 1, 1)
            # Without guidance the garment is nothing: zeros, as it was dropped in training.
            known = torch.cat([torch.cat([masked, torch.zeros_like(worn)], axis), torch.cat([masked, worn], axis)])
            shape = known.shape[1:]
            draws = [torch.Generator().manual_seed(order.seed) for order in orders]
            noisy = torch.stack([torch.randn(shape, generator=draw) for draw in draws])
            noisy = noisy.to(known) * scheduler.init_noise_sigma
            for time in scheduler.timesteps:
                both = scheduler.scale_model_input(noisy, time).repeat(2, 1, 1, 1)
                noise = pipe.unet(torch.cat([both, holes, known], 1), time, encoder_hidden_states=None).sample
                without, with_garment = noise.chunk(2)
                guided = torch.lerp(without, with_garment, self.guidance)
                noisy = scheduler.step(guided, time, noisy, eta=self.trained.eta, generator=draws).prev_sample
            half = noisy.chunk(2, axis)[0] / pipe.vae.config.scaling_factor
            decoded = pipe.vae.decode(half).sample.float().permute(0, 2, 3, 1)
        pixels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        return [
            not_finite("the try-on network", values) or np.ascontiguousarray(one)
            for values, one in zip(decoded, pixels, strict=True)
        ]


def _squares(trained: Trained) -> float:
    """The area of person and garment, in pictures of SD 1.5's own size."""
    return 2 * squares_of("sd15", trained.height_px, trained.width_px)


def _at_once(trained: Trained) -> int:
    """Persons in a batch: as many as have about the area of SD 1.5's batches."""
    return max(1, min(AT_ONCE["sd15"], int(AT_ONCE["sd15"] / _squares(trained))))


def _on_white(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """A picture of a size (height, width) that shows another whole, in its shape, in the middle of white."""
    height_px, width_px = size_px
    factor = min(height_px / pixels.shape[0], width_px / pixels.shape[1])
    shown = resized(pixels, tuple(max(1, int(factor * side + 1e-6)) for side in pixels.shape[:2]))
    white = np.full((*size_px, 3), 255, np.uint8)
    top, left = (height_px - shown.shape[0]) // 2, (width_px - shown.shape[1]) // 2
    white[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return white
