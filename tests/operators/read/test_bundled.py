from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb
from operators.read.bundled import PHOTOS, BundledPhotos
from tests.sources import real_profile, seen_by_lcms


def test_each_photo_gives_its_crops_in_a_fixed_order() -> None:
    reader = BundledPhotos(crops_per_photo=2)
    items = list(reader.items(reader.listing()))
    assert [item.ref for item in items] == [f"{path}#{index}" for path in PHOTOS for index in (0, 1)]
    assert [item.index for item in items] == [0, 1] * len(PHOTOS)
    assert all(item.bytes == (Path(reader.root) / item.files[0]).stat().st_size for item in items)


def test_a_crop_is_the_part_of_its_photo_that_its_step_records() -> None:
    reader = BundledPhotos(crops_per_photo=1)
    pairs = [reader.read(item, "derain") for item in reader.items(reader.listing())]
    assert {pair.group: pair.licence for pair in pairs} == dict(PHOTOS)
    for pair in pairs:
        (target,) = pair.images
        (step,) = pair.steps
        left, top = step.params["x_px"], step.params["y_px"]
        with PILImage.open(Path(reader.root) / pair.group) as photo:
            crop = photo.convert("RGB").crop((left, top, left + 256, top + 256))
        is_adobe_rgb = pair.group.endswith("rocket.jpg")
        expected = seen_by_lcms(crop, real_profile("rocket.jpg")) if is_adobe_rgb else np.asarray(crop)
        assert (target.width_px, target.height_px) == (256, 256)
        assert np.array_equal(decode_rgb(target.data), expected)


def test_crops_of_a_photo_differ_and_are_the_same_in_every_process() -> None:
    reader = BundledPhotos(crops_per_photo=5)
    items = [item for item in reader.items(reader.listing()) if "coffee" in item.ref]
    first, second = ([reader.read(item, "derain") for item in items] for _ in range(2))
    assert first == second
    assert len({pair.key for pair in first}) == len({pair.images[0].data for pair in first}) == 5
    assert first[0].key == "dd6a99b70c6f045d8d21df0f999def53"  # of the photo in scikit-image 0.26
