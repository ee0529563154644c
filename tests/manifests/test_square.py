from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from transformers import ChameleonImageProcessorPil

from manifests.palettes import decode_labels, encode_labels
from manifests.square import square

PHOTO = skimage.data.chelsea()  # 451 x 300 px


@pytest.mark.parametrize("turned", [False, True])
def test_it_is_what_chameleons_processor_does(turned: bool) -> None:
    """That one scales before it crops, so it sees a little beyond the crop's border."""
    photo = np.ascontiguousarray(PHOTO.swapaxes(0, 1)) if turned else PHOTO
    side_px = 128
    processor = ChameleonImageProcessorPil(
        size={"shortest_edge": side_px}, crop_size={"height": side_px, "width": side_px}
    )
    theirs = processor(photo, return_tensors="np", do_normalize=False, do_rescale=False)["pixel_values"][0]
    difference = square(photo, side_px).astype(int) - np.asarray(theirs).transpose(1, 2, 0)
    assert np.abs(difference).mean() < 2


def test_a_square_of_that_size_is_left_alone() -> None:
    photo = PHOTO[:64, :64]
    assert square(photo, 64) is photo


def test_nearest_mixes_no_colours() -> None:
    labels = np.random.default_rng(0).integers(0, 151, (30, 50)).astype(np.uint8)
    found = decode_labels(square(encode_labels(labels), 16, nearest=True))
    assert set(np.unique(found)) <= set(np.unique(labels[:, 10:40]))
    assert np.array_equal(decode_labels(square(encode_labels(labels), 30, nearest=True)), labels[:, 10:40])
