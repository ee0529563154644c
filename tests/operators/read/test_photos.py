from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageOps

from manifests.images.pixels import decode_rgb
from manifests.schema import Item, Pair, Reject
from operators.read.files import list_files
from operators.read.photos import PhotoFolder
from tests.sources import (
    encode,
    encode_image,
    jpeg,
    photo,
    real_profile,
    seen_by_lcms,
    turned_jpeg,
    write_files,
)

READER = PhotoFolder(source="photos", licence="CC0-1.0")


def test_every_file_is_an_item_by_path_and_what_is_no_image_is_rejected(tmp_path: Path) -> None:
    write_files(tmp_path, {"b/2.JPG": jpeg(0), "a 1.png": b"text", "notes.txt": b"more text"})
    reader = _located(tmp_path)
    items = list(reader.items(reader.listing()))
    assert [(item.ref, item.files) for item in items] == [(p, (p,)) for p in ("a 1.png", "b/2.JPG", "notes.txt")]
    assert reader.read(items[1], "derain").source_ref == "b/2.JPG"
    for item in (items[0], items[2]):
        with pytest.raises(Reject) as caught:
            reader.read(item, "derain")
        assert caught.value.reason == "not_image"


def test_a_folder_is_recognised_by_image_endings_in_any_case(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/notes.txt": b"", "b/x.TIFF": b""})
    assert READER.located(str(tmp_path / "a"), list_files(str(tmp_path / "a"))) is None
    assert READER.located(str(tmp_path / "b"), list_files(str(tmp_path / "b")))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg(0), id="RGB JPEG"),
        pytest.param(encode(photo(0)), id="RGB PNG"),
        pytest.param(encode(photo(0)[:, :, 0].copy()), id="gray PNG"),
        pytest.param(encode(photo(0)[:, :, 0].copy(), "JPEG"), id="gray JPEG"),
        pytest.param(turned_jpeg(photo(0), 1), id="EXIF says upright"),
        pytest.param(turned_jpeg(photo(0), 99), id="EXIF says nonsense"),
    ],
)
def test_photos_that_every_decoder_sees_alike_pass_byte_for_byte(tmp_path: Path, data: bytes) -> None:
    pair = _read(tmp_path, data)
    assert [(image.role, image.data) for image in pair.images] == [("target", data)]
    assert (pair.source, pair.licence, pair.group, pair.steps) == ("photos", "CC0-1.0", "photo", ())


def _gray16() -> bytes:
    values = photo(0)[:, :, 0].astype(np.uint16) << 8 | 0x55
    return encode_image(PILImage.fromarray(values))


def _transparent(mode: str) -> bytes:
    image = PILImage.fromarray(photo(0)).convert(mode)
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:20] = 0
    image.putalpha(PILImage.fromarray(alpha))
    return encode_image(image)


def _with_transparent_colour() -> bytes:
    """An RGB PNG in which one colour is declared transparent."""
    return encode_image(PILImage.fromarray(photo(0)), transparency=tuple(int(value) for value in photo(0)[0, 0]))


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        pytest.param(_gray16(), "I;16", id="16 bit"),
        pytest.param(_transparent("RGB"), "RGBA", id="alpha"),
        pytest.param(_transparent("L"), "LA", id="gray alpha"),
        pytest.param(encode_image(PILImage.fromarray(photo(0)).convert("P")), "P", id="palette"),
        pytest.param(encode_image(PILImage.fromarray(photo(0)).convert("CMYK"), "JPEG"), "CMYK", id="CMYK"),
        pytest.param(_with_transparent_colour(), "RGB", id="transparent colour"),
    ],
)
def test_other_photos_are_stored_as_the_rgb_that_the_rain_falls_on(tmp_path: Path, data: bytes, mode: str) -> None:
    pair = _read(tmp_path, data)
    (image,) = pair.images
    assert (image.format, image.mode) == ("png", "RGB")
    assert np.array_equal(decode_rgb(image.data), decode_rgb(data))
    (step,) = pair.steps
    assert (step.operator, step.params) == ("to_rgb", {"role": "target", "mode": mode, "turned": False})


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_other_colours_become_srgb_and_those_of_srgb_stay(tmp_path: Path, form: str, orientation: int) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    image, profile = PILImage.fromarray(photo(0)), real_profile("rocket.jpg")
    data = encode_image(image, form, exif=exif, icc_profile=profile, **({"lossless": True} if form == "WEBP" else {}))
    pair = _read(tmp_path, data)
    with PILImage.open(io.BytesIO(data)) as opened, PILImage.open(io.BytesIO(pair.images[0].data)) as stored:
        expected = seen_by_lcms(ImageOps.exif_transpose(opened), profile)
        assert np.array_equal(np.asarray(stored), expected)
        assert stored.mode == "RGB" and not stored.info.get("icc_profile")
    (step,) = pair.steps
    params = {"role": "target", "mode": "RGB", "turned": orientation == 6, "colours": "Adobe RGB (1998)"}
    assert step.params == params
    same = encode_image(image, form, icc_profile=real_profile("astronaut.png"))
    kept = _read(tmp_path, same)
    assert kept.images[0].data == same and not kept.steps


@pytest.mark.parametrize(("width_px", "height_px"), [(8, 8), (1, 300), (300, 1), (31, 40), (40, 31)])
def test_what_is_too_small_is_rejected(tmp_path: Path, width_px: int, height_px: int) -> None:
    with pytest.raises(Reject, match=f"{width_px} x {height_px} px") as caught:
        _read(tmp_path, encode(np.zeros((height_px, width_px, 3), np.uint8)))
    assert caught.value.reason == "too_small"
    assert _read(tmp_path, encode(photo(0, 32, 32)))


def test_a_folder_of_avif_alone_is_one_of_photos(tmp_path: Path) -> None:
    data = encode(photo(0), "AVIF")
    write_files(tmp_path, {"a.avif": data})
    reader = _located(tmp_path)
    (item,) = reader.items(reader.listing())
    assert reader.read(item, "derain").images[0].data == data
    assert reader.suffixes([item]) == {"input": "png", "target": "avif"}


def test_what_is_no_image_starts_no_other_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file's name is."""

    def start(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", start)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(x) print\nshowpage\n"
    with pytest.raises(Reject) as caught:
        _read(tmp_path, script)
    assert caught.value.reason == "not_image"


def test_pixels_mean_what_they_meant(tmp_path: Path) -> None:
    """Of each conversion one thing that a wrong one would get wrong."""
    gray = decode_rgb(_read(tmp_path, _gray16()).images[0].data)
    assert np.array_equal(gray, np.repeat(photo(0)[:, :, :1], 3, axis=2))
    over_white = decode_rgb(_read(tmp_path, _transparent("RGB")).images[0].data)
    assert (over_white[:20] == 255).all() and np.array_equal(over_white[20:], photo(0)[20:])
    from_cmyk = encode_image(PILImage.fromarray(photo(0)).convert("CMYK"), "JPEG", quality=95)
    difference = decode_rgb(_read(tmp_path, from_cmyk).images[0].data).astype(int) - photo(0)
    assert np.abs(difference).mean() < 6


def test_what_exif_turns_is_stored_upright(tmp_path: Path) -> None:
    pair = _read(tmp_path, turned_jpeg(photo(0), 6))
    image = pair.images[0]
    assert (image.width_px, image.height_px) == (40, 48)
    expected = np.rot90(photo(0), -1)
    assert np.abs(decode_rgb(image.data).astype(int) - expected).mean() < 6
    assert pair.steps[0].params == {"role": "target", "mode": "RGB", "turned": True}


def test_members_end_as_the_files_do_and_synthesised_ones_as_their_format() -> None:
    items = [Item(ref=name, files=(name,)) for name in ("a.JPG", "b.jpeg", "c.png")]
    assert READER.suffixes(items) == {"input": "png", "target": "jpg"}


def _located(root: Path) -> PhotoFolder:
    reader = READER.located(str(root), list_files(str(root)))
    assert reader
    return reader


def _read(root: Path, data: bytes) -> Pair:
    write_files(root, {"photo": data})
    (item,) = READER.items(list_files(str(root)))
    return PhotoFolder(source="photos", licence="CC0-1.0", root=str(root)).read(item, "derain")
