from __future__ import annotations

import itertools

import numpy as np
import pytest
import skimage.data
import sklearn.datasets
from PIL import Image as PILImage

from manifests.images import pixels as images
from manifests.images.phash import as_integer, distance, phash, phash_of
from manifests.images.pixels import Pixels, remembering, thumbnail
from manifests.schema import Reject
from tests.sources import encode, turned_jpeg

PHOTOS: list[Pixels] = [
    skimage.data.astronaut(),
    skimage.data.chelsea(),
    skimage.data.coffee(),
    skimage.data.rocket(),
    *sklearn.datasets.load_sample_images().images,
]


def test_it_is_pinned() -> None:
    """Another hash of the same image would make old manifests and guard files useless."""
    gradient = np.add.outer(np.arange(300) % 97, 2 * np.arange(400) % 151).astype(np.uint8)
    assert phash(encode(np.repeat(gradient[..., None], 3, axis=2))) == "80552b552f572bd5"


@pytest.mark.parametrize("pixels", PHOTOS)
def test_it_survives_encoding_resizing_and_brightness(pixels: Pixels) -> None:
    height, width, _ = pixels.shape
    image = PILImage.fromarray(pixels)
    half, third, twice = (
        np.asarray(image.resize((int(width * scale), int(height * scale)))) for scale in (0.5, 0.33, 2)
    )
    brighter = np.clip(pixels.astype(np.int16) + 16, 0, 255).astype(np.uint8)
    changed = [
        encode(pixels, "JPEG", quality=50),
        encode(pixels, "WEBP", quality=60),
        encode(half, "JPEG", quality=85),
        encode(third, "JPEG", quality=85),
        encode(twice, "JPEG", quality=85),
        encode(brighter, "JPEG", quality=85),
    ]
    original = phash(encode(pixels))
    assert original
    assert max(distance(original, phash(data) or "") for data in changed) <= 2


def test_different_photos_are_far_apart() -> None:
    hashes = [phash(encode(pixels)) or "" for pixels in PHOTOS]
    assert min(distance(one, other) for one, other in itertools.combinations(hashes, 2)) >= 20


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_image_has_none(value: int) -> None:
    flat = np.full((300, 280, 3), value, np.uint8)
    noisy = flat.astype(np.int16) + np.random.default_rng(0).integers(-2, 3, flat.shape)
    for pixels in (flat, noisy.clip(0, 255).astype(np.uint8)):
        assert phash(encode(pixels)) is None
        assert phash(encode(pixels, "JPEG", quality=50)) is None


def test_small_images_are_decoded_in_full() -> None:
    small = np.asarray(PILImage.fromarray(PHOTOS[0]).resize((96, 96), PILImage.Resampling.BOX))
    assert distance(phash(encode(small)) or "", phash(encode(PHOTOS[0])) or "") <= 4
    assert phash(encode(small)) == phash_of(PILImage.fromarray(small))
    assert len(phash(encode(PHOTOS[0][:3, :2])) or "") == 16


def test_after_the_thumbnail_nothing_is_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(PHOTOS[0], "JPEG")
    expected = phash(bytes(bytearray(data)))

    def no_decoding(*_: object) -> None:
        raise AssertionError("it was decoded again")

    with remembering():
        thumbnail(data)
        monkeypatch.setattr(images, "_open", no_decoding)
        assert phash(data) == expected


def test_a_turned_image_has_the_hash_of_what_is_seen() -> None:
    pixels = PHOTOS[1]  # its sides are no multiples of 8
    turned = turned_jpeg(np.ascontiguousarray(np.rot90(pixels)), 6)
    assert distance(phash(turned) or "", phash(encode(pixels)) or "") <= 2


def test_a_cut_off_image_is_rejected() -> None:
    data = encode(PHOTOS[0], "JPEG")
    with pytest.raises(Reject):
        phash(data[: len(data) // 2])


def test_distance_counts_bits_and_refuses_what_is_no_hash() -> None:
    assert distance("0" * 16, "f" * 16) == 64
    assert distance("8000000000000000", "0" * 16) == 1
    with pytest.raises(ValueError, match="16 hex digits"):
        as_integer("ff")
