"""A photo's holes filled by a model that sees the reference, in the place of what the photo showed there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import cv2
import numpy as np

from manifests.images import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair
from operators.compose import SD15_WEIGHTS
from operators.diffusion import PICTURE_GPU_S, SAMPLING, Family, Sampling, found, like, picture, pipeline, steps_of

_ROLES: Mapping[Family, tuple[str, ...]] = {"sd15": ("sd15-inpaint", "sd15-ip-adapter"), "flux": ("flux-fill",)}

_FILL_GUIDANCE = 30.0
"""Of FLUX Fill: diffusers' default, FluxFillPipeline.__call__."""

_PROMPTS: Mapping[Family, str] = {
    "sd15": "best quality, high quality",
    "flux": "A diptych with two side-by-side images of the same scene.",
}
"""IP-Adapter's; after Diptych Prompting (arXiv 2411.15466), which lets FLUX Fill copy from the left to the right."""


@dataclass(frozen=True, kw_only=True)
class Complete:
    """Replaces the target by the input with its holes filled after the reference. Without a family the photo stays.

    Stable Diffusion's inpainting is given the reference by IP-Adapter; FLUX Fill sees it in the left half of a picture
    of twice the width. Outside of the holes the photo's pixels stay. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "complete"
    version: ClassVar[int] = 1
    family: Family | None = None
    models: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    @property
    def gpus(self) -> float:
        return 1.0 if self.family else 0.0

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S[self.family] if self.family else 0.0

    def of_family(self, family: Family) -> Self:
        return replace(self, family=family)

    def bound(self, models: str | None) -> Self:
        if self.family is None:
            return self
        folders, identities = found(models, _ROLES[self.family])
        return replace(self, folders=folders, models=identities)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if self.family is None:
            return pair
        masked, mask, reference = (self._pixels(pair, role) for role in ("input", "mask", "reference"))
        fill = self._by_fill if self.family == "flux" else self._by_inpainting
        made = fill(masked, mask, reference, seed)
        height_px, width_px = masked.shape[:2]
        filled = cv2.resize(made, (width_px, height_px), interpolation=cv2.INTER_LANCZOS4)
        target = encode_lossless("target", np.where(mask > 127, filled, masked))
        parts, sampling = ("generator", "ip-adapter")[: len(self.models)], self._sampling
        params = {"steps": sampling.steps, "guidance": sampling.guidance}
        steps = steps_of(
            self.name, self.version, parts, self.models, params=params, seed=seed, prompt=_PROMPTS[self.family]
        )
        images = (image for image in pair.images if image.role != "target")
        return replace(pair, images=(*images, target), steps=(*pair.steps, *steps))

    @property
    def _sampling(self) -> Sampling:
        assert self.family
        sampling = SAMPLING[self.family]
        return replace(sampling, guidance=_FILL_GUIDANCE) if self.family == "flux" else sampling

    def _pixels(self, pair: Pair, role: str) -> Pixels:
        image = pair.image(role)
        assert image, f"completion takes a {role}"
        return decode_rgb(image.data)

    def _by_inpainting(self, masked: Pixels, mask: Pixels, reference: Pixels, seed: int) -> Pixels:
        pipe = pipeline("StableDiffusionInpaintPipeline", self.folders[0])
        if pipe.image_encoder is None:  # as it was loaded, before anything was made with it
            subfolder, name = SD15_WEIGHTS
            pipe.load_ip_adapter(self.folders[1], subfolder=subfolder, weight_name=name, local_files_only=True)
        size = like(pipe, masked.shape[1], masked.shape[0])
        return self._made(pipe, masked, mask, size, seed, ip_adapter_image=_picture(reference))

    def _by_fill(self, masked: Pixels, mask: Pixels, reference: Pixels, seed: int) -> Pixels:
        pipe = pipeline("FluxFillPipeline", self.folders[0])
        height_px, width_px = like(pipe, masked.shape[1], masked.shape[0])
        left = cv2.resize(reference, (masked.shape[1], masked.shape[0]), interpolation=cv2.INTER_AREA)
        both = self._made(
            pipe,
            np.hstack([left, masked]),
            np.hstack([np.zeros_like(mask), mask]),
            (height_px, 2 * width_px),
            seed,
            max_sequence_length=pipe.tokenizer_2.model_max_length,
        )
        return np.ascontiguousarray(both[:, width_px:])

    def _made(self, pipe: Any, image: Pixels, mask: Pixels, size: tuple[int, int], seed: int, **given: Any) -> Pixels:
        """What a pipeline makes at that size (height, width)."""
        assert self.family
        prompt, sampling = _PROMPTS[self.family], self._sampling
        return picture(
            lambda generator: pipe(
                prompt,
                image=_picture(image),
                mask_image=_picture(mask),
                height=size[0],
                width=size[1],
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                generator=generator,
                output_type="np",
                **given,
            ),
            seed,
        )


def _picture(pixels: Pixels) -> Any:
    from PIL import Image as PILImage

    return PILImage.fromarray(pixels)
