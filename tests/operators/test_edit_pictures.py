"""FLUX.1 Kontext and FLUX.1 Fill themselves, tiny: several edits of a photo in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from manifests.images import Pixels
from manifests.schema import Reject
from operators.diffusion import Sampling
from operators.edit_pictures import by_fill, by_kontext
from operators.showing import Box
from tests.sources import photo

PHOTO = photo(0, 96, 64)
TWO = Sampling(steps=2, guidance=3.5)
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
    for edit in by_fill(f"{tiny}/flux-fill", PHOTO, "a hat", box, TWO, [1, 2]):
        assert np.array_equal(edit[outside], PHOTO[outside])
        assert (edit[~outside] != PHOTO[~outside]).any()


@pytest.mark.parametrize("editor", ["FluxKontextPipeline", "FluxFillPipeline"])
def test_one_batch_is_made_or_halves_where_memory_is_too_small_for_it(
    editor: str, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = _with_room_for(4, editor, monkeypatch)
    whole = _edits(editor, tiny, [1, 2, 3, 4])
    assert sizes == [4]
    sizes = _with_room_for(2, editor, monkeypatch)
    halved = _edits(editor, tiny, [1, 2, 3, 4])
    assert sizes == [4, 2, 2]
    for one, other in zip(whole, halved, strict=True):  # their noise is the same, sums may be rounded otherwise
        assert np.abs(one.astype(int) - other).max() <= 1
    _with_room_for(0, editor, monkeypatch)
    with pytest.raises(Reject) as caught:
        _edits(editor, tiny, [1, 2])
    assert caught.value.reason == "out_of_memory"


def _edits(editor: str, tiny: str, seeds: list[int], prompt: str = "a cat with a hat") -> list[Pixels]:
    if editor == "FluxKontextPipeline":
        return by_kontext(f"{tiny}/flux-kontext", PHOTO, prompt, TWO, seeds)
    return by_fill(f"{tiny}/flux-fill", PHOTO, prompt, BOX, TWO, seeds)


def _with_room_for(most: int, editor: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have a pipeline run out of memory for more pictures than that. Its batches are counted in what is returned."""
    import diffusers
    import torch

    monkeypatch.undo()
    kind = getattr(diffusers, editor)
    run = kind.__call__
    sizes: list[int] = []

    def limited(self: Any, **given: Any) -> Any:
        sizes.append(len(given["generator"]))
        if sizes[-1] > most:
            raise torch.cuda.OutOfMemoryError
        return run(self, **given)

    monkeypatch.setattr(kind, "__call__", limited)
    return sizes
