"""A composite of two images by IP-Adapter (arXiv 2308.06721; X-Prompt Tab. 7): one's layout, the other's semantics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject
from operators.models.diffusion import (
    DENOISING,
    Denoising,
    Family,
    FamilyPainter,
    Order,
    for_encoder,
    painted,
    painting_s,
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

SD15_NEGATIVE_PROMPT = "monochrome, lowres, bad anatomy, worst quality, low quality"
"""What IP-Adapter's guidance leads away from, unless another is given: the same file."""

_NEGATIVE_PROMPTS: Mapping[Family, str] = {"sd15": SD15_NEGATIVE_PROMPT, "flux": ""}
"""Of FLUX.1 the default of XFluxPipeline.__call__: src/flux/xflux_pipeline.py of https://github.com/XLabs-AI/x-flux."""

_FLUX_GUIDANCE, _TRUE_GUIDANCE = 4.0, 3.5
"""What FLUX.1 is told, and the weight of true guidance, which runs it a second time on an empty prompt and a black
picture: --guidance and --true_gs in the README of x-flux."""

_STRENGTH: Mapping[Family, float] = {"sd15": 0.7, "flux": 0.6}
"""Share of the schedule that is gone through. Ours for SD 1.5, enough to change the semantics and not the layout: it
begins with 0.30 times as much layout as noise. FLUX.1's schedule is shifted towards noise: 0.7 of it would begin with
0.13 times as much, the default of diffusers' FluxImg2ImgPipeline.__call__ begins with 0.20."""

_SCALE: Mapping[Family, float] = {"sd15": 0.8, "flux": 1.0}
"""Weight of the image prompt: of SD 1.5 ours, below 1, at which the layout gives way; of FLUX.1 XLabs' (ip_scale)."""


@dataclass(frozen=True, kw_only=True)
class Compose(FamilyPainter):
    """Makes the target from input1, which is noised and denoised again (its layout stays), with input2 as image prompt.

    About input1's shape, the model's area. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "compose"
    version: ClassVar[int] = 3
    roles: ClassVar[Mapping[Family, tuple[str, ...]]] = {
        "sd15": ("sd15", "sd15-ip-adapter"),
        "flux": ("flux", "flux-ip-adapter", "flux-ip-adapter-image-encoder"),
    }

    @property
    def gpu_s(self) -> float:
        times = 2 if self.family == "flux" else 1  # true guidance; that of SD 1.5 is in PICTURE_GPU_S
        return times * painting_s(self.family, _STRENGTH[self.family] * self._denoising.steps)

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
        return painted(
            self._pipeline(),
            orders,
            self.at_once,
            self._denoising,
            negative_prompt=_NEGATIVE_PROMPTS[self.family],
            strength=_STRENGTH[self.family],
            **self._true_guidance,
        )

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        params = {
            **self._denoising.params,
            **self._true_guidance,
            "negative_prompt": _NEGATIVE_PROMPTS[self.family],
            "strength": _STRENGTH[self.family],
            "scale": _SCALE[self.family],
        }
        parts = ("generator", "ip-adapter", "image encoder")[: len(self.models)]
        steps = steps_of(self.name, self.version, parts, self.models, params=params, seed=seed, prompt=PROMPT)
        return replace(pair, images=(*pair.images, encode_lossless("target", pictures[0])), steps=(*pair.steps, *steps))

    @property
    def _denoising(self) -> Denoising:
        denoising = DENOISING[self.family]
        return replace(denoising, guidance=_FLUX_GUIDANCE) if self.family == "flux" else denoising

    @property
    def _true_guidance(self) -> dict[str, float]:
        """The argument of diffusers' FLUX pipelines for guidance as SD 1.5 has it, which theirs does without."""
        return {"true_cfg_scale": _TRUE_GUIDANCE} if self.family == "flux" else {}

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
        pipe.set_ip_adapter_scale(_SCALE[self.family])
        return pipe
