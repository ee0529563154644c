from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage
from PIL import ImageOps

from operators.shared.palettes import decode_labels, encode_labels
from operators.shared.square import square

PHOTO = skimage.data.chelsea()  # 451 x 300 px


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("side_px", [64, 512])
def test_it_is_the_middle_of_the_image_scaled_by_lanczos(turned: bool, side_px: int) -> None:
    """Here by Pillow's own `fit`, which cuts first: where the image is not at the edge of the cut, it is the same."""
    photo = np.ascontiguousarray(PHOTO.swapaxes(0, 1)) if turned else PHOTO
    found = square(photo, side_px)
    fitted = ImageOps.fit(PILImage.fromarray(photo), (side_px, side_px), PILImage.Resampling.LANCZOS)
    assert found.shape == (side_px, side_px, 3)
    assert np.abs(found[8:-8, 8:-8].astype(int) - np.asarray(fitted)[8:-8, 8:-8]).mean() < 1
    for shift in (-4, 4):
        assert np.abs(np.roll(found, shift, int(not turned)).astype(int) - np.asarray(fitted)).mean() > 2


def test_a_square_of_that_size_is_left_as_it_is() -> None:
    photo = PHOTO[:64, :64]
    assert np.array_equal(square(photo, 64), photo)


def test_nearest_mixes_no_colours() -> None:
    labels = np.random.default_rng(0).integers(0, 151, (30, 50)).astype(np.uint8)
    found = decode_labels(square(encode_labels(labels), 16, nearest=True))
    assert set(np.unique(found)) <= set(np.unique(labels[:, 10:40]))
    assert np.array_equal(decode_labels(square(encode_labels(labels), 30, nearest=True)), labels[:, 10:40])
