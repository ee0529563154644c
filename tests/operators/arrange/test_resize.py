from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb, encode_lossless
from manifests.schema import Pair
from operators.arrange.resize import Resize


def _pair(height_px: int, width_px: int) -> tuple[Pair, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3), np.uint8)
    image = encode_lossless("target", pixels)
    return Pair(key="0" * 32, source="s", source_ref="r", licence="l", images=(image,), group="g"), pixels


@pytest.mark.parametrize(("mode", "size"), [("fit", (100, 150)), ("crop", (100, 100))])
def test_the_shorter_side_gets_the_size(mode: str, size: tuple[int, int]) -> None:
    pair, pixels = _pair(200, 300)
    made = Resize(size_px=100, mode=mode)(pair, 0)  # type: ignore[arg-type]
    (image,) = made.images
    assert (image.height_px, image.width_px, image.format) == (*size, "png")
    # Halving is the mean of each 2 x 2 block, by another library.
    halved = np.asarray(PILImage.fromarray(pixels).reduce(2), int)[:, : 150 if mode == "fit" else None]
    expected = halved if mode == "fit" else halved[:, 25:125]
    assert np.abs(decode_rgb(image.data).astype(int) - expected).max() <= 1
    assert made.steps[-1].params == {"size_px": 100, "mode": mode}


def test_a_small_image_keeps_its_pixels() -> None:
    pair, pixels = _pair(50, 70)
    assert np.array_equal(decode_rgb(Resize(size_px=100)(pair, 0).images[0].data), pixels)
    assert Resize(size_px=100, mode="crop").resized(pixels).shape == (50, 50, 3)
