"""What all operators that run a diffusers pipeline share: loading, sizes, one picture at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np

from manifests.images import Pixels
from manifests.schema import Reject, Step
from operators import checkpoints
from operators.batching import in_halves
from operators.device import prepared_device
from operators.embed_text import need

Family = Literal["sd15", "flux"]
"""Stable Diffusion 1.5 or FLUX.1."""


@runtime_checkable
class Painter(Protocol):
    """An operator that can use models of either family."""

    def of_family(self, family: Family) -> Self: ...


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

_GRID_PX = 64
"""Sides are multiples of it: SD 1.5's UNet halves its latents of 1/8 scale three times."""


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


@lru_cache(maxsize=2)
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


def picture(run: Callable[[Any], Any], seed: int) -> Pixels:
    """What a pipeline makes, H x W x 3, when it is called by `run` with a generator.

    The generator is the CPU's, so that every device begins with the same noise, and the picture is made alone, so that
    its bytes do not depend on what is made beside it. Raises Reject: out_of_memory; unsafe, where the checkpoint has a
    safety checker and that blackens the picture.
    """
    import torch

    def alone(seeds: Any) -> list[Any]:
        with torch.no_grad():
            return [run(torch.Generator().manual_seed(seed)) for seed in seeds]

    (made,) = in_halves(alone, [seed])
    if isinstance(made, Reject):
        raise made
    if any(getattr(made, "nsfw_content_detected", None) or []):
        raise Reject("unsafe", "the model's safety checker refuses what it made")
    return np.asarray((made.images[0] * 255).round(), np.uint8)


def side_px(pipe: Any) -> int:
    """Of the square pictures that a pipeline was trained on: 512 for SD 1.5, 1,024 for FLUX.1."""
    unet = getattr(pipe, "unet", None)
    side: int = unet.config.sample_size * pipe.vae_scale_factor if unet else pipe.vae.config.sample_size
    return side


def like(pipe: Any, width_px: int, height_px: int) -> tuple[int, int]:
    """(height, width) of a picture with about that shape and a pipeline's own area, in multiples of 64 px."""
    side, shape = side_px(pipe), math.sqrt(width_px / height_px)
    height, width = (max(1, round(length / _GRID_PX)) * _GRID_PX for length in (side / shape, side * shape))
    return height, width
