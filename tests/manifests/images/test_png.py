"""The PNG writer: its files against two independent decoders, its size and its bytes."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import Pixels
from manifests.images.png import encode_png
from tests.manifests.make import photo


@pytest.mark.parametrize("size_px", [(1, 1), (1, 7), (7, 1), (48, 64), (3, 20_000)])
def test_pillow_and_opencv_read_the_same_pixels(size_px: tuple[int, int]) -> None:
    pixels: Pixels = np.random.default_rng(0).integers(0, 256, (*size_px, 3), np.uint8)
    data = encode_png(pixels)
    with PILImage.open(io.BytesIO(data)) as image:
        image.verify()  # the chunks' checksums
    np.testing.assert_array_equal(np.asarray(PILImage.open(io.BytesIO(data))), pixels)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), pixels)


def test_a_view_with_other_strides_is_written_as_seen() -> None:
    pixels = photo(0)[::2, ::-1]
    np.testing.assert_array_equal(np.asarray(PILImage.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_a_photo_is_about_as_small_as_opencv_makes_it() -> None:
    pixels = np.asarray(cv2.resize(photo(0), (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert len(encode_png(pixels)) < 1.2 * len(cv2.imencode(".png", pixels)[1]) < 0.4 * pixels.nbytes


def test_other_pixels_are_refused() -> None:
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)):
        with pytest.raises(AssertionError):
            encode_png(wrong)  # type: ignore[arg-type]
