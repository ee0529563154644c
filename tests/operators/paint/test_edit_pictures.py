"""FLUX.1 Kontext and FLUX.1 Fill themselves, tiny."""

from __future__ import annotations

from functools import wraps
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline
from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.models.diffusion import Denoising
from operators.paint.edit_pictures import by_fill, by_kontext, kontext_size
from operators.vlm.boxes import Box
from tests.sources import photo

PHOTO = photo(0, 96, 64)
TWO = Denoising(steps=2, guidance=3.5)
BOX: Box = (250, 500, 750, 1000)
INSIDE = (slice(32, 64), slice(24, 72))
"""Rows and columns of PHOTO in that box."""


@pytest.mark.parametrize("editor", ["FluxKontextPipeline", "FluxFillPipeline"])
def test_every_seed_and_prompt_gives_another_edit_and_the_same_one_again(editor: str, tiny: str) -> None:
    first, second, third = made = _edits(editor, tiny, [1, 2, 3])
    assert all(edit.shape == PHOTO.shape and edit.dtype == np.uint8 for edit in made)
    for edit, again in zip(made, _edits(editor, tiny, [1, 2, 3]), strict=True):
        assert np.array_equal(edit, again)
    others = (second, third, PHOTO, _edits(editor, tiny, [1, 2, 3], "a mountain in deep winter")[0])
    for other in others:
        assert np.abs(other[INSIDE].astype(float) - first[INSIDE]).mean() > 0.5


@pytest.mark.parametrize("box", [BOX, (0, 0, 1000, 1000), (0, 0, 1, 1), (333, 333, 334, 667)])
def test_outside_of_the_box_the_photo_stays(box: Box, tiny: str) -> None:
    left, top, right, bottom = box
    rows, columns = np.indices(PHOTO.shape[:2])  # a pixel is outside if the box does not touch it
    beside = ((columns + 1) * 1000 <= left * 96) | (columns * 1000 >= right * 96)
    above_or_below = ((rows + 1) * 1000 <= top * 64) | (rows * 1000 >= bottom * 64)
    outside = beside | above_or_below
    for edit in by_fill(f"{tiny}/flux-fill", PHOTO, "a hat", box, TWO, [1, 2], 1):
        assert not isinstance(edit, Reject)
        assert np.array_equal(edit[outside], PHOTO[outside])
        assert (edit[~outside] != PHOTO[~outside]).any()


@pytest.mark.parametrize("editor", ["FluxKontextPipeline", "FluxFillPipeline"])
def test_edits_are_made_together_as_each_alone(editor: str, tiny: str) -> None:
    for edit, alone in zip(_edits(editor, tiny, [1, 2, 3], at_once=2), [1, 2, 3], strict=True):
        assert np.array_equal(edit, _edits(editor, tiny, [alone], at_once=2)[0])


@pytest.mark.parametrize(
    ("photo_px", "expected"),
    [
        ((1000, 1000), (1024, 1024)),
        ((4032, 3024), (1184, 880)),  # 1.333: 1184 / 880 is 1.345, 1248 / 832 1.5, 1104 / 944 1.169
        ((3024, 4032), (880, 1184)),  # 0.75: 880 / 1184 is 0.743
        ((1920, 1080), (1392, 752)),  # 1.778: 1392 / 752 is 1.851, 1328 / 800 1.660
        ((1080, 1920), (752, 1392)),  # 0.5625: 752 / 1392 is 0.540, 800 / 1328 0.602
        ((1600, 1067), (1248, 832)),  # 1.4995
        ((3000, 1000), (1568, 672)),  # 3: the widest there is
        ((100, 900), (672, 1568)),
        ((1045, 1000), (1024, 1024)),  # 1.045: 0.045 from 1, 0.124 from 1104 / 944
    ],
)
def test_an_edit_has_the_size_of_the_nearest_shape_that_kontext_knows(
    photo_px: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Width and height of the photo and of the edit, by hand from diffusers' list."""
    assert expected in PREFERRED_KONTEXT_RESOLUTIONS
    pipe: Any = SimpleNamespace(vae=SimpleNamespace(config=SimpleNamespace(sample_size=1024)), vae_scale_factor=8)
    assert kontext_size(pipe, *photo_px) == expected[::-1]


def test_kontext_is_called_at_that_size(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny one's pictures are an eighth as wide: 1248 x 832 becomes 156 x 104, in multiples of 16 px."""
    sizes: list[Any] = []
    call = FluxKontextPipeline.__call__

    @wraps(call)
    def noted(self: Any, **given: Any) -> Any:
        made = call(self, **given)
        sizes.append((given["width"], given["height"], given["image"][0].size, made.images.shape[1:3]))
        return made

    monkeypatch.setattr(FluxKontextPipeline, "__call__", noted)
    (edit,) = by_kontext(f"{tiny}/flux-kontext", PHOTO, "a cat with a hat", TWO, [1], 1)
    assert not isinstance(edit, Reject) and edit.shape == PHOTO.shape
    assert sizes == [(160, 96, (160, 96), (96, 160))]


def test_a_gpu_that_is_too_small_is_a_reject(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *arguments: Any, **given: Any) -> Any:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(FluxKontextPipeline, "__call__", fail)
    made = by_kontext(f"{tiny}/flux-kontext", PHOTO, "a cat with a hat", TWO, [1, 2], 1)
    assert [edit.reason for edit in made if isinstance(edit, Reject)] == ["out_of_memory"] * 2


def _edits(
    editor: str, tiny: str, seeds: list[int], prompt: str = "a cat with a hat", at_once: int = 1
) -> list[Pixels]:
    if editor == "FluxKontextPipeline":
        made = by_kontext(f"{tiny}/flux-kontext", PHOTO, prompt, TWO, seeds, at_once)
    else:
        made = by_fill(f"{tiny}/flux-fill", PHOTO, prompt, BOX, TWO, seeds, at_once)
    return [edit for edit in made if not isinstance(edit, Reject)]
