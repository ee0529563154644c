from __future__ import annotations

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.read.region_mask import Marks, with_mask
from tests.sources import encode, encode_image, lossless, pair_of, photo, turned_jpeg

PHOTO = photo(0, 60, 40)


def test_transparent_is_edited_as_the_authors_of_magicbrush_read_it() -> None:
    """Their formula, from issue 10 of OSU-NLP-Group/MagicBrush: resized to the image, then alpha is 0."""
    rgba = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    rgba[4:22, 8:31, 3] = 0
    for size in ((60, 40), (180, 120), (30, 20)):
        drawn = PILImage.fromarray(rgba).resize(size, PILImage.Resampling.NEAREST)
        theirs = np.asarray(drawn.resize((60, 40), PILImage.Resampling.NEAREST))[..., 3] == 0
        pair = _read(encode_image(drawn, "PNG"), "transparent")
        assert np.array_equal(_mask(pair), np.where(theirs, 255, 0))
        assert pair.scores == {"mask_area": round(theirs.mean(), 6)}
        params = dict(pair.steps[-1].params)
        assert params == {"marks": "transparent", "mode": "RGBA"} | ({} if size == (60, 40) else {"from_px": [*size]})


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_white_masks_keep_their_bytes(mode: str, kind: str) -> None:
    drawn = encode_image(PILImage.fromarray(_square()).convert(mode), kind)
    pair = _read(drawn, "white")
    mask = pair.image("mask")
    assert mask and mask.data == drawn and mask.mode == mode
    assert pair.steps == () and pair.scores["mask_area"] == pytest.approx(18 * 23 / 2400, abs=0.01)


@pytest.mark.parametrize("mode", ["1", "P", "I;16", "LA", "CMYK"])
def test_white_masks_of_other_modes_become_rgb(mode: str) -> None:
    drawn = PILImage.fromarray(_square())
    if mode == "I;16":
        drawn = PILImage.fromarray(_square().astype(np.uint16) * 257)
    pair = _read(encode_image(drawn.convert(mode), "TIFF" if mode == "CMYK" else "PNG"), "white")
    assert np.array_equal(_mask(pair), _square())


def test_a_layer_that_is_transparent_where_nothing_is_drawn() -> None:
    """As UltraEdit's own examples have it, images/example_images/1-mask.png: white strokes on nothing."""
    for under in (0, 255):
        layer = np.dstack([np.full((*_square().shape, 3), under, np.uint8), _square()])
        layer[_square() > 0, :3] = 255
        assert np.array_equal(_mask(_read(encode(layer), "white")), _square())


@pytest.mark.parametrize(
    ("drawn", "marks", "reason", "area"),
    [
        (encode(PHOTO), "white", "not_a_mask", None),
        (encode(skimage.data.camera()[100:140, 200:260]), "white", "not_a_mask", None),
        (encode(PHOTO), "transparent", "no_transparency", None),
        (encode(np.zeros((40, 60), np.uint8)), "white", "nothing_marked", 0),
        (encode(np.full((40, 60), 255, np.uint8)), "white", "all_marked", 1),
        (encode(np.dstack([PHOTO, np.full((40, 60), 255, np.uint8)])), "transparent", "nothing_marked", 0),
        (encode(np.zeros((40, 50), np.uint8)), "white", "other_shape", None),
        (encode(np.zeros((60, 40), np.uint8)), "white", "size_mismatch", None),
        (encode(np.zeros((40, 60), np.uint8))[:-20], "white", "truncated", None),
        (b"no image", "white", "not_image", None),
        (b"", "white", "empty", None),
    ],
    ids=range(11),
)
def test_what_is_no_mask_is_left_out_and_said(drawn: bytes, marks: Marks, reason: str, area: float | None) -> None:
    pair = _read(drawn, marks)
    assert [image.role for image in pair.images] == ["input"]
    assert pair.steps[-1].params["left_out"] == reason
    assert pair.scores == ({} if area is None else {"mask_area": area})


def test_a_mask_drawn_before_the_photo_was_turned_is_turned_with_it() -> None:
    stored = np.ascontiguousarray(np.rot90(PHOTO))  # 60 rows of 40: the camera was held on its side
    photo_file = turned_jpeg(stored, 6)
    with PILImage.open(io.BytesIO(photo_file)) as image:
        assert image.size == (40, 60)
    drawn = np.zeros((60, 40), np.uint8)
    drawn[:10, :5] = 255  # top left of what the sensor saw
    pair = with_mask(pair_of(lossless("input", PHOTO)), photo_file, encode(drawn), "white")
    assert np.array_equal(_mask(pair), np.rot90(drawn, -1))  # Exif: 6 is to be turned by 90 degrees clockwise
    unclear = with_mask(pair_of(lossless("input", PHOTO)), turned_jpeg(PHOTO, 3), encode(_square()), "white")
    assert unclear.steps[-1].params["left_out"] == "turned"


def test_a_pair_without_a_mask_stays_as_it_is() -> None:
    pair = pair_of(lossless("input", PHOTO))
    assert with_mask(pair, encode(PHOTO), None, "white") is pair


def _square() -> Pixels:
    mask = np.zeros((40, 60), np.uint8)
    mask[4:22, 8:31] = 255
    return mask


def _read(drawn: bytes, marks: Marks) -> Pair:
    return with_mask(pair_of(lossless("input", PHOTO)), encode(PHOTO), drawn, marks)


def _mask(pair: Pair) -> Pixels:
    image = pair.image("mask")
    assert image
    pixels = decode_rgb(image.data)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    return pixels[..., 0]
