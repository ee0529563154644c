"""FLUX.1 Kontext and FLUX.1 Fill themselves, tiny."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline

from manifests.images.pixels import Pixels
from manifests.schema import Reject
from operators.models.diffusion import Denoising
from operators.paint.edit_pictures import by_fill, by_kontext
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
