"""What all operators that run a diffusers pipeline share: loading, sizes, pictures in batches."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self, get_args

import cv2
import numpy as np

from manifests.images.pixels import Pixels
from manifests.schema import Reject, Step
from operators.batching import PAIRS, in_batches
from operators.models import checkpoints
from operators.models.device import loaded_once, prepared_device
from operators.option import option
from operators.shared.texts import need

Family = Literal["sd15", "flux"]
"""Stable Diffusion 1.5 or FLUX.1."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    steps: int
    guidance: float


SAMPLING: Mapping[Family, Sampling] = {
    "sd15": Sampling(steps=50, guidance=7.5),
    "flux": Sampling(steps=28, guidance=3.5),
}
"""Defaults of diffusers 0.42's StableDiffusionPipeline and FluxPipeline."""

PICTURE_GPU_S: Mapping[Family, float] = {"sd15": 2.5, "flux": 14.0}
"""Seconds of an A100 for one picture of the size and the steps that the family is used with: assumed, not measured."""

TEXT_TO_IMAGE: Mapping[Family, str] = {"sd15": "StableDiffusionPipeline", "flux": "FluxPipeline"}

AT_ONCE: Mapping[Family, int] = {"sd15": 4, "flux": 1}
"""How many pictures are made together. A step of FLUX's 12B parameters on 4,608 tokens is 110 TFLOP, a third of a
second of an A100 at its best, so one picture fills a GPU; one of SD 1.5's with guidance is 1.6 TFLOP, and does not.
More than four would often be copies: photos have many shapes, and only pictures of one size are made together."""

_PROMPT_SIDE_PX = 512

_LATENTS: Mapping[Family, int] = {"sd15": 8, "flux": 2}
"""Sides of latents are multiples of it: SD 1.5's UNet halves them three times, FLUX.1 sees them in patches of 2 x 2."""


def found(models: str | None, roles: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Folders of the checkpoints of some roles, and name and revision of each. Raises ValueError if one is missing."""
    folders = tuple(checkpoints.folder(models, role) for role in roles)
    return folders, tuple(map(checkpoints.identity, folders, roles))


def steps_of(
    name: str,
    version: int,
    parts: Sequence[str],
    models: Sequence[tuple[str, str]],
    *,
    params: Mapping[str, Any],
    seed: int,
    prompt: str | None = None,
) -> tuple[Step, ...]:
    """One step a model, so that each is named with its revision. The first has the parameters and the prompt."""
    return tuple(
        Step(
            operator=name,
            version=version,
            params={"part": part, **(params if part == parts[0] else {})},
            seed=seed,
            model=model,
            model_revision=revision,
            prompt=prompt if part == parts[0] else None,
        )
        for part, (model, revision) in zip(parts, models, strict=True)
    )


@loaded_once(2)
def pipeline(kind: str, folder: str, parts: tuple[tuple[str, str, str], ...] = ()) -> Any:
    """A diffusers pipeline from a folder, once a process; on a GPU in bfloat16, on a CPU in float32 on one thread.

    `parts` are components from folders of their own: (component, its class in diffusers, folder).
    """
    import torch

    diffusers, device = need("diffusers"), prepared_device()
    options = {"local_files_only": True, "dtype": torch.bfloat16 if device == "cuda" else torch.float32}
    extra = {name: getattr(diffusers, cls).from_pretrained(path, **options) for name, cls, path in parts}
    pipe = getattr(diffusers, kind).from_pretrained(folder, **extra, **options)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


@loaded_once(1)
def with_controlnet(kind: str, base: Any, control_kind: str, folder: str) -> Any:
    """A pipeline of another kind on the networks of `base`, which both then share, and a ControlNet from a folder."""
    diffusers = need("diffusers")
    control = getattr(diffusers, control_kind).from_pretrained(folder, local_files_only=True, dtype=base.dtype)
    pipe = getattr(diffusers, kind).from_pipe(base, controlnet=control.to(base.device), dtype=base.dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@dataclass(frozen=True, kw_only=True)
class FamilyPainter:
    """What the operators that make pictures by models of either family have in common."""

    batch_size: ClassVar[int] = PAIRS
    gpus: ClassVar[float] = 1.0
    roles: ClassVar[Mapping[Family, tuple[str, ...]]]
    """The checkpoints of each family."""
    family: Family = option("sd15", "which models make the pictures", name="generator", choices=get_args(Family))
    at_once: int = 0
    """Pictures in a batch (AT_ONCE), set by `bound`: bytes depend on it."""
    models: tuple[tuple[str, str], ...] = ()
    """Name and revision of each checkpoint."""
    folders: tuple[str, ...] = field(default=(), metadata={"location": True})

    @property
    def gpu_s(self) -> float:
        return PICTURE_GPU_S[self.family]

    def bound(self, models: str | None) -> Self:
        folders, identities = found(models, self.roles[self.family])
        return replace(self, folders=folders, models=identities, at_once=AT_ONCE[self.family])


@dataclass(frozen=True, kw_only=True)
class Order:
    """One picture that a pipeline is to make."""

    prompt: str
    seed: int
    size_px: tuple[int, int]
    """Height and width."""
    images: Mapping[str, Pixels] = field(default_factory=dict)
    """What it is made from, by the pipeline's names."""
    image_prompt: Pixels | None = None
    """For an IP-Adapter."""


def pictures(
    pipe: Any, orders: Sequence[Order], at_once: int, sampling: Sampling, **given: Any
) -> list[Pixels | Reject]:
    """What a pipeline makes of each order, H x W x 3, `at_once` together; `given` are arguments that all share.

    Each picture's noise is its own seed's, drawn on the CPU, so that every device begins with the same. Rejects:
    out_of_memory; unsafe, where the checkpoint has a safety checker and that blackens the picture.
    """
    given = {"num_inference_steps": sampling.steps, "guidance_scale": sampling.guidance, **given}
    if _family(pipe) == "flux":
        given = {"max_sequence_length": pipe.tokenizer_2.model_max_length, **given}
    sized = "height" in inspect.signature(pipe.__call__).parameters  # SD 1.5 makes an image from one of its size
    return in_batches(
        lambda batch: _made(pipe, batch, sized, given), orders, at_once, alike=lambda order: order.size_px
    )


def _made(pipe: Any, orders: Sequence[Order], sized: bool, given: Mapping[str, Any]) -> list[Pixels | Reject]:
    import torch
    from PIL import Image as PILImage

    height_px, width_px = orders[0].size_px
    with torch.no_grad(), _image_prompts(pipe, orders) as prompted:
        made = pipe(
            prompt=[order.prompt for order in orders],
            generator=[torch.Generator().manual_seed(order.seed) for order in orders],
            output_type="np",
            **{name: [PILImage.fromarray(order.images[name]) for order in orders] for name in orders[0].images},
            **({"height": height_px, "width": width_px} if sized else {}),
            **prompted,
            **given,
        )
    unsafe = getattr(made, "nsfw_content_detected", None) or [False] * len(orders)
    return [
        Reject("unsafe", "the model's safety checker refuses what it made")
        if refused
        else np.asarray((image * 255).round(), np.uint8)
        for image, refused in zip(made.images, unsafe, strict=True)
    ]


@contextmanager
def _image_prompts(pipe: Any, orders: Sequence[Order]) -> Iterator[dict[str, Any]]:
    """While open, a pipeline gives each picture the image prompt of its order; its own arguments are yielded.

    By themselves diffusers' pipelines (0.42) take one image prompt a call: where there are several, each picture of the
    batch sees all of them.
    """
    import torch
    from PIL import Image as PILImage

    images = [PILImage.fromarray(order.image_prompt) for order in orders if order.image_prompt is not None]
    if not images:
        yield {}
        return
    guided = [True] if _family(pipe) == "sd15" else []  # first of no image, then of the image
    prepare = pipe.prepare_ip_adapter_image_embeds
    found = [prepare([image], None, pipe.device, 1, *guided)[0].chunk(1 + len(guided)) for image in images]
    vectors = torch.cat([part for parts in zip(*found, strict=True) for part in parts])
    pipe.prepare_ip_adapter_image_embeds = lambda *_, **__: [vectors]
    try:
        yield {"ip_adapter_image": images[:1]}
    finally:
        del pipe.prepare_ip_adapter_image_embeds


def resized(pixels: Pixels, size_px: tuple[int, ...]) -> Pixels:
    """At a size (height, width)."""
    if pixels.shape[:2] == size_px:
        return pixels
    smaller = size_px[0] * size_px[1] < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size_px[::-1], interpolation=interpolation), np.uint8)


def reduced(pixels: Pixels) -> Pixels:
    """A picture for an image encoder, which sees 224 px of it: its shorter side is at most 512 px, so that many fit."""
    factor = _PROMPT_SIDE_PX / min(pixels.shape[:2])
    return resized(pixels, tuple(round(factor * side) for side in pixels.shape[:2])) if factor < 1 else pixels


def side_px(pipe: Any) -> int:
    """Of the square pictures that a pipeline was trained on: 512 for SD 1.5, 1,024 for FLUX.1."""
    if _family(pipe) == "flux":
        return int(pipe.vae.config.sample_size)
    return int(pipe.unet.config.sample_size * pipe.vae_scale_factor)


def like(pipe: Any, width_px: int, height_px: int) -> tuple[int, int]:
    """(height, width) of a picture with about that shape and a pipeline's own area; multiples of 64 px, or 16."""
    side, shape = side_px(pipe), math.sqrt(width_px / height_px)
    grid_px = _LATENTS[_family(pipe)] * pipe.vae_scale_factor
    height, width = (max(1, round(length / grid_px)) * grid_px for length in (side / shape, side * shape))
    return height, width


def _family(pipe: Any) -> Family:
    return "sd15" if getattr(pipe, "unet", None) else "flux"
