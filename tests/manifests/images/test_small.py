"""Small pictures: never larger than allowed, like the image they are of, and always the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb, encode_lossless, remembering
from manifests.images.small import MOST_BYTES, SIDES_PX, small
from manifests.schema import Reject
from tests.sources import encode, turned_jpeg

_NOISE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)


@pytest.mark.parametrize("encoded", [lambda pixels: encode(pixels, "JPEG", quality=95), encode], ids=["jpeg", "png"])
@pytest.mark.parametrize("pixels", [skimage.data.coffee(), skimage.data.chelsea()], ids=["coffee", "chelsea"])
def test_it_shows_the_image(pixels: Pixels, encoded: Callable[[Pixels], bytes]) -> None:
    found = small("input", encoded(pixels))
    shown = PILImage.open(io.BytesIO(found.data))
    height, width, _ = pixels.shape
    assert (shown.format, shown.size) == ("WEBP", (found.width_px, found.height_px))
    assert max(shown.size) == SIDES_PX[0] and abs(shown.width / shown.height - width / height) < 0.01
    assert len(found.data) <= MOST_BYTES and not shown.info.get("icc_profile") and not shown.info.get("exif")
    by_pillow = PILImage.fromarray(pixels).resize(shown.size, PILImage.Resampling.BOX)
    assert np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(by_pillow, float)).mean() < 6


def test_what_is_turned_is_upright_and_what_is_small_keeps_its_size() -> None:
    pixels = skimage.data.coffee()[:40, :60]
    assert (small("input", encode(pixels)).width_px, small("input", encode(pixels)).height_px) == (60, 40)
    turned = small("input", turned_jpeg(pixels, 6))
    assert (turned.width_px, turned.height_px) == (40, 60)


def test_noise_is_stored_worse_or_smaller_and_a_line_has_a_pixel() -> None:
    assert len(small("input", encode(_NOISE)).data) <= MOST_BYTES
    line = small("input", encode(_NOISE.reshape(1, -1, 3)[:, :9_000]))
    assert (line.width_px, line.height_px) == (SIDES_PX[0], 1)


def test_the_bytes_do_not_depend_on_what_was_decoded_before() -> None:
    data = encode(skimage.data.coffee(), "JPEG")
    alone = small("input", data)
    with remembering():
        decode_rgb(data)
        assert small("input", data) == alone


def test_what_cannot_be_decoded_has_none() -> None:
    whole = encode_lossless("input", _NOISE).data
    for data in (b"", b"text", whole[: len(whole) // 2]):
        with pytest.raises(Reject):
            small("input", data)
