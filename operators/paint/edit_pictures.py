"""Edits of a photo: by FLUX.1 Kontext from an instruction, by FLUX.1 Fill inside of a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.models.diffusion import Denoising, Order, grid_px, painted, pipeline, resized, side_px, size_like
from operators.vlm.boxes import Box

_PREFERRED_SIDE_PX = 1_024
"""Side of the square among the sizes that Kontext was trained at."""


def by_kontext(
    folder: str, photo: Pixels, instruction: str, denoising: Denoising, seeds: Sequence[int], at_once: int
) -> list[Pixels | Reject]:
    """The photo edited after an instruction, once for each seed, H x W x 3 as the photo.

    Made at a size that Kontext was trained at, then resized. Rejects: out_of_memory.
    """
    pipe = pipeline("FluxKontextPipeline", folder)
    size = kontext_size(pipe, photo.shape[1], photo.shape[0])
    images = {"image": resized(photo, size)}
    edits = painted(
        pipe,
        [Order(prompt=instruction, seed=seed, size_px=size, images=images) for seed in seeds],
        at_once,
        denoising,
        max_area=size[0] * size[1],
        _auto_resize=False,  # which would take the size of the published model, whatever the checkpoint's is
    )
    return [edit if isinstance(edit, Reject) else resized(edit, photo.shape[:2]) for edit in edits]


def by_fill(
    folder: str, photo: Pixels, caption: str, box: Box, denoising: Denoising, seeds: Sequence[int], at_once: int
) -> list[Pixels | Reject]:
    """The photo with a box of it painted anew, so that the caption describes the whole: as `by_kontext` otherwise.

    Outside of the box the photo's pixels stay.
    """
    pipe = pipeline("FluxFillPipeline", folder)
    size = size_like(pipe, photo.shape[1], photo.shape[0])
    images = {"image": resized(photo, size), "mask_image": _mask(box, size)}
    fillings = painted(
        pipe,
        [Order(prompt=caption, seed=seed, size_px=size, images=images) for seed in seeds],
        at_once,
        denoising,
    )
    inside = _mask(box, photo.shape[:2]) > 0
    return [
        one if isinstance(one, Reject) else np.where(inside, resized(one, photo.shape[:2]), photo) for one in fillings
    ]


def kontext_size(pipe: Any, width_px: int, height_px: int) -> tuple[int, int]:
    """(height, width) of the edit of a photo: of the sizes that Kontext was trained at the one of the nearest shape.

    Their list is diffusers'. A checkpoint of smaller pictures has them in proportion.
    """
    from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

    shape, grid = width_px / height_px, grid_px(pipe)
    _, width, height = min((abs(shape - wide / high), wide, high) for wide, high in PREFERRED_KONTEXT_RESOLUTIONS)
    factor = side_px(pipe) / _PREFERRED_SIDE_PX / grid
    return max(1, round(height * factor)) * grid, max(1, round(width * factor)) * grid


def _mask(box: Box, size: tuple[int, ...]) -> Pixels:
    """A picture of a size (height, width), white in all pixels that the box touches and black elsewhere."""
    left, top, right, bottom = box
    height_px, width_px = size
    mask = np.zeros((height_px, width_px, 3), np.uint8)
    rows = slice(top * height_px // 1_000, -(-bottom * height_px // 1_000))
    columns = slice(left * width_px // 1_000, -(-right * width_px // 1_000))
    mask[rows, columns] = 255
    return mask
