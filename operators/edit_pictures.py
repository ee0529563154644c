"""Edits of a photo, several at once: by FLUX.1 Kontext from an instruction, by FLUX.1 Fill inside of a box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from manifests.images import Pixels
from manifests.schema import Reject
from operators.batching import in_halves
from operators.diffusion import Sampling, like, pipeline
from operators.showing import Box


def by_kontext(folder: str, photo: Pixels, instruction: str, sampling: Sampling, seeds: Sequence[int]) -> list[Pixels]:
    """The photo after an instruction, once a seed, H x W x 3 as the photo.

    All are one batch, halved where memory is too small for it. Made at about the photo's aspect and the area that the
    VAE was trained at, then resized. Raises Reject: out_of_memory.
    """
    pipe = pipeline("FluxKontextPipeline", folder)
    size = like(pipe, photo.shape[1], photo.shape[0])
    given = {"image": _picture(_resized(photo, size)), "max_area": size[0] * size[1], "_auto_resize": False}
    made = _made(pipe, instruction, size, sampling, seeds, lambda count: given)
    return [_resized(edited, photo.shape[:2]) for edited in made]


def by_fill(
    folder: str, photo: Pixels, caption: str, box: Box, sampling: Sampling, seeds: Sequence[int]
) -> list[Pixels]:
    """The photo with a box of it painted anew, so that the caption describes the whole: as `by_kontext` otherwise.

    Outside of the box the photo's pixels stay.
    """
    pipe = pipeline("FluxFillPipeline", folder)
    size = like(pipe, photo.shape[1], photo.shape[0])
    image, mask = _picture(_resized(photo, size)), _picture(_mask(box, size))

    def given(count: int) -> dict[str, Any]:
        # As often as there are pictures: the VAE's noise of each is then drawn from its own generator too.
        return {"image": [image] * count, "mask_image": [mask] * count}

    inside = _mask(box, photo.shape[:2])[..., None] > 0
    made = _made(pipe, caption, size, sampling, seeds, given)
    return [np.where(inside, _resized(filled, photo.shape[:2]), photo) for filled in made]


def _made(
    pipe: Any,
    prompt: str,
    size: tuple[int, int],
    sampling: Sampling,
    seeds: Sequence[int],
    given: Callable[[int], Mapping[str, Any]],
) -> list[Pixels]:
    """What a pipeline makes at that size (height, width). `given`, for a number of pictures: its arguments beside."""
    import torch

    def batch(some: Sequence[int]) -> list[Pixels]:
        images = pipe(
            prompt=prompt,
            height=size[0],
            width=size[1],
            num_images_per_prompt=len(some),
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            max_sequence_length=pipe.tokenizer_2.model_max_length,
            generator=[torch.Generator().manual_seed(seed) for seed in some],  # on the CPU: the same on every device
            output_type="np",
            **given(len(some)),
        ).images
        return [np.asarray((image * 255).round(), np.uint8) for image in images]

    made = in_halves(batch, seeds)
    pictures = [one for one in made if not isinstance(one, Reject)]
    if len(pictures) < len(made):
        raise next(one for one in made if isinstance(one, Reject))
    return pictures


def _resized(pixels: Pixels, size: tuple[int, ...]) -> Pixels:
    """At a size (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    smaller = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=interpolation), np.uint8)


def _mask(box: Box, size: tuple[int, ...]) -> Pixels:
    """A picture of a size (height, width), H x W, 255 in all pixels that the box touches and 0 elsewhere."""
    left, top, right, bottom = box
    height_px, width_px = size
    mask = np.zeros((height_px, width_px), np.uint8)
    rows = slice(top * height_px // 1_000, -(-bottom * height_px // 1_000))
    columns = slice(left * width_px // 1_000, -(-right * width_px // 1_000))
    mask[rows, columns] = 255
    return mask


def _picture(pixels: Pixels) -> Any:
    from PIL import Image as PILImage

    return PILImage.fromarray(pixels)
