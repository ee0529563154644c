"""A composite of two images by IP-Adapter (arXiv 2308.06721; X-Prompt Tab. 7): one's layout, the other's semantics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject
from operators.models.diffusion import (
    DENOISING,
    Family,
    FamilyPainter,
    Order,
    for_encoder,
    painted,
    pipeline,
    resized,
    size_like,
    steps_of,
)

_CLASSES: Mapping[Family, str] = {"sd15": "StableDiffusionImg2ImgPipeline", "flux": "FluxImg2ImgPipeline"}

SD15_WEIGHTS = ("models", "ip-adapter_sd15.safetensors")
"""Folder and file in https://huggingface.co/h94/IP-Adapter; the image encoder is in models/image_encoder."""

FLUX_WEIGHTS = "ip_adapter.safetensors"
"""File in https://huggingface.co/XLabs-AI/flux-ip-adapter; the image encoder is a CLIP of its own."""

PROMPT = "best quality, high quality"
"""IP-Adapter's where the image is to speak: ip_adapter/ip_adapter.py of https://github.com/tencent-ailab/IP-Adapter."""


@dataclass(frozen=True, kw_only=True)
class Compose(FamilyPainter):
    """Makes the target from input1, which is noised and denoised again (its layout stays), with input2 as image prompt.

    About input1's shape, the model's area. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "compose"
    version: ClassVar[int] = 2
    roles: ClassVar[Mapping[Family, tuple[str, ...]]] = {
        "sd15": ("sd15", "sd15-ip-adapter"),
        "flux": ("flux", "flux-ip-adapter", "flux-ip-adapter-image-encoder"),
    }
    strength: float = 0.7
    """Share of the schedule that is gone through: ours, enough for the semantics to change and not the layout."""
    scale: float = 0.8
    """Weight of the image prompt: ours, below 1, at which the layout gives way."""

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        layout, semantics = pair.image("input1"), pair.image("input2")
        assert layout and semantics, "there are two images to compose"
        size_px = size_like(self._pipeline(), layout.width_px, layout.height_px)
        return [
            Order(
                prompt=PROMPT,
                seed=seed,
                size_px=size_px,
                images={"image": resized(decode_rgb(layout.data), size_px)},
                image_prompt=for_encoder(decode_rgb(semantics.data)),
            )
        ]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return painted(self._pipeline(), orders, self.at_once, DENOISING[self.family], strength=self.strength)

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        params = {**DENOISING[self.family].params, "strength": self.strength, "scale": self.scale}
        parts = ("generator", "ip-adapter", "image encoder")[: len(self.models)]
        steps = steps_of(self.name, self.version, parts, self.models, params=params, seed=seed, prompt=PROMPT)
        return replace(pair, images=(*pair.images, encode_lossless("target", pictures[0])), steps=(*pair.steps, *steps))

    def _pipeline(self) -> Any:
        pipe = pipeline(_CLASSES[self.family], self.folders[0])
        if pipe.image_encoder is None:  # as it was loaded, before anything was made with it
            if self.family == "sd15":
                subfolder, name = SD15_WEIGHTS
                pipe.load_ip_adapter(self.folders[1], subfolder=subfolder, weight_name=name, local_files_only=True)
            else:
                pipe.load_ip_adapter(
                    self.folders[1],
                    weight_name=FLUX_WEIGHTS,
                    image_encoder_pretrained_model_name_or_path=self.folders[2],
                    image_encoder_dtype=pipe.dtype,
                    local_files_only=True,
                )
        pipe.set_ip_adapter_scale(self.scale)
        return pipe
