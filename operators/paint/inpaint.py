"""A photo's holes filled by a model that sees the reference, in the place of what the photo showed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, get_args

import cv2
import numpy as np

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless
from manifests.schema import Pair, Reject
from operators.models.checkpoints import folders_and_identities
from operators.models.diffusion import (
    AT_ONCE,
    DENOISING,
    FAMILY_GPUS,
    FILL,
    Denoising,
    Family,
    Order,
    PictureOperator,
    for_encoder,
    painted,
    painting_gib,
    painting_s,
    pipeline,
    resized,
    size_like,
    steps_of,
)
from operators.option import option
from operators.paint.compose import SD15_NEGATIVE_PROMPT, SD15_WEIGHTS

_ROLES: Mapping[Family, tuple[str, ...]] = {"sd15": ("sd15-inpaint", "sd15-ip-adapter"), "flux": ("flux-fill",)}
_CLASSES: Mapping[Family, str] = {"sd15": "StableDiffusionInpaintPipeline", "flux": "FluxFillPipeline"}

_SQUARES: Mapping[Family, int] = {"sd15": 1, "flux": 2}
"""How many pictures of the family's own area are painted as one: FLUX Fill's has the reference beside the photo."""

_PROMPTS: Mapping[Family, str] = {
    "sd15": "best quality, high quality",
    "flux": "A diptych with two side-by-side images of the same scene.",
}
"""For sd15 IP-Adapter's own prompt; for flux one after Diptych Prompting (arXiv 2411.15466), which lets FLUX Fill copy
from the left to the right."""


@dataclass(frozen=True, kw_only=True)
class Inpaint(PictureOperator):
    """Replaces the target by the input with its holes filled after the reference. Without a family the photo stays.

    Stable Diffusion's inpainting is given the reference by IP-Adapter; FLUX Fill sees it in the left half of a picture
    of twice the width. Outside of the holes the photo's pixels stay. Rejects: out_of_memory, unsafe.
    """

    name: ClassVar[str] = "complete"
    version: ClassVar[int] = 3
    family: Family | None = option(
        None, "which models fill the holes (default: none, the photo stays)", name="generator", choices=get_args(Family)
    )

    @property
    def gpus(self) -> float:
        return FAMILY_GPUS[self.family] if self.family else 0.0

    @property
    def gpu_s(self) -> float:
        return painting_s(self.family, self._denoising.steps, _SQUARES[self.family]) if self.family else 0.0

    @property
    def loads(self) -> tuple[str, ...]:
        return _ROLES[self.family] if self.family else ()

    @property
    def working_gib(self) -> float:
        return painting_gib(self.family, _SQUARES[self.family]) if self.family else 0.0

    def bound(self, models: str | None) -> Self:
        if self.family is None:
            return self
        folders, identities = folders_and_identities(models, self.loads)
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE[self.family])

    def _pipeline(self) -> Any:
        assert self.family
        pipe = pipeline(_CLASSES[self.family], self.folders[0])
        if self.family == "sd15" and pipe.image_encoder is None:  # as it was loaded, before anything was made with it
            subfolder, name = SD15_WEIGHTS
            pipe.load_ip_adapter(self.folders[1], subfolder=subfolder, weight_name=name, local_files_only=True)
        return pipe

    def orders(self, pair: Pair, seed: int) -> Sequence[Order]:
        if self.family is None:
            return []
        masked, mask, reference = (self._pixels(pair, role) for role in ("input", "mask", "reference"))
        height_px, width_px = size_px = size_like(self._pipeline(), masked.shape[1], masked.shape[0])
        prompt, reference = _PROMPTS[self.family], for_encoder(reference)
        masked, mask = resized(masked, size_px), resized(mask, size_px)
        if self.family == "sd15":
            images = {"image": masked, "mask_image": mask}
            return [Order(prompt=prompt, seed=seed, size_px=size_px, images=images, image_prompt=reference)]
        left = resized(reference, size_px)
        images = {"image": np.hstack([left, masked]), "mask_image": np.hstack([np.zeros_like(mask), mask])}
        return [Order(prompt=prompt, seed=seed, size_px=(height_px, 2 * width_px), images=images)]

    def paint(self, orders: Sequence[Order]) -> Sequence[Pixels | Reject]:
        return painted(self._pipeline(), orders, self.at_once, self._denoising, **self._negative)

    def finished(self, pair: Pair, seed: int, pictures: Sequence[Pixels]) -> Pair:
        if self.family is None:
            return pair
        masked, mask = (self._pixels(pair, role) for role in ("input", "mask"))
        (whole,) = pictures
        drawn = np.ascontiguousarray(whole[:, whole.shape[1] // 2 :]) if self.family == "flux" else whole
        filled = cv2.resize(drawn, (masked.shape[1], masked.shape[0]), interpolation=cv2.INTER_LANCZOS4)
        target = encode_lossless("target", np.where(mask > 127, filled, masked))
        steps = steps_of(
            self.name,
            self.version,
            ("generator", "ip-adapter")[: len(self.models)],
            self.models,
            params={**self._denoising.params, **self._negative},
            seed=seed,
            prompt=_PROMPTS[self.family],
        )
        images = (image for image in pair.images if image.role != "target")
        return replace(pair, images=(*images, target), steps=(*pair.steps, *steps))

    @property
    def _denoising(self) -> Denoising:
        assert self.family
        return FILL if self.family == "flux" else DENOISING[self.family]

    @property
    def _negative(self) -> dict[str, str]:
        """The prompt that IP-Adapter's guidance leads away from; FLUX Fill has none."""
        return {"negative_prompt": SD15_NEGATIVE_PROMPT} if self.family == "sd15" else {}

    def _pixels(self, pair: Pair, role: str) -> Pixels:
        image = pair.image(role)
        assert image, f"to inpaint takes a {role}"
        return decode_rgb(image.data)
