from __future__ import annotations

import numpy as np
import skimage.data

from manifests.images.pixels import decode_rgb
from operators.read.bundled_person import BundledPerson
from tests.readers import images, read_all


def test_the_suit_is_masked_and_garments_are_textures() -> None:
    pairs, rejects = read_all(BundledPerson())
    assert rejects == []
    assert len({pair.key for pair in pairs}) == 8
    for pair in pairs:
        person, cloth, mask = (decode_rgb(images(pair)[role]) for role in ("person", "cloth", "mask"))
        assert cloth.shape == (256, 256, 3)
        assert set(np.unique(mask)) == {0, 255}
        assert 0.3 < (mask == 255).mean() < 0.6
        assert np.array_equal(person[mask == 0], skimage.data.astronaut()[mask == 0])
        assert (person[mask == 255] == 128).all()
        assert pair.image("target") is None
    assert read_all(BundledPerson())[0] == pairs
