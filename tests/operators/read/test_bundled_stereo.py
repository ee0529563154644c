from __future__ import annotations

import io

import numpy as np
import skimage.data
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb
from operators.read.bundled_stereo import BundledStereo
from tests.readers import images, read_all


def test_crops_of_the_photo_with_the_depth_of_the_same_window() -> None:
    reader = BundledStereo(crops=4)
    pairs, rejects = read_all(reader)
    assert len(pairs) == len({images(pair)["input"] for pair in pairs}) == 4 and not rejects
    left, _, disparity_px = skimage.data.stereo_motorcycle()
    for pair in pairs:
        window = pair.steps[0].params
        rows = slice(window["y_px"], window["y_px"] + 256)
        columns = slice(window["x_px"], window["x_px"] + 256)
        assert np.array_equal(decode_rgb(images(pair)["input"]), left[rows, columns])
        depth_mm = np.asarray(PILImage.open(io.BytesIO(images(pair)["target"])))
        assert np.array_equal(depth_mm == 0, ~np.isfinite(disparity_px[rows, columns]))
        assert pair.steps[1].params == {"target": "depth_mm"}


def test_the_depth_is_that_of_a_motorcycle_in_a_room() -> None:
    """Middlebury's calibration file gives 7.2 to 59.9 px of disparity at this size: 2.1 to 5.0 m."""
    depths_mm = [
        np.asarray(PILImage.open(io.BytesIO(images(pair)["target"]))) for pair in read_all(BundledStereo(crops=16))[0]
    ]
    measured = np.concatenate([depth[depth > 0] for depth in depths_mm])
    assert 2_100 < measured.min() < 2_300 and 4_500 < measured.max() < 5_100


def test_crops_are_the_same_in_every_process() -> None:
    first, second = (read_all(BundledStereo(crops=2))[0] for _ in range(2))
    assert first == second
