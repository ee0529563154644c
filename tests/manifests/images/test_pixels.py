"""What image bytes mean: headers before pixels, upright RGB out of every format, and lossless new images."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

from manifests.images import pixels as images
from manifests.images.colour import adobe_rgb
from manifests.images.pixels import (
    Pixels,
    decode_rgb,
    encode_lossless,
    fitted,
    read_header,
    remembering,
    stored,
    thumbnail,
)
from manifests.schema import Reject
from tests.manifests.make import photo

LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}}


def encoded(pixels: np.ndarray[Any, Any] | PILImage.Image, form: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, PILImage.Image) else PILImage.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def reason(function: Any, data: bytes) -> str:
    with pytest.raises(Reject) as caught:
        function(data)
    return caught.value.reason


def png(width_px: int, height_px: int, bit_depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG put together by hand: what Pillow does not write, or nobody should."""
    header = struct.pack(">IIBBBBB", width_px, height_px, bit_depth, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


# --- what is refused ---


@pytest.mark.parametrize(("width_px", "height_px"), [(100_000, 100_000), (8_001, 8_000), (64_000_001, 1)])
def test_a_bomb_is_refused_by_its_header(width_px: int, height_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: PILImage.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(PILImage.Image, "load", load)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    bomb = png(width_px, height_px, 8, 2, b"")
    for function in (read_header, decode_rgb, thumbnail):
        assert reason(function, bomb) == "oversized"


def test_as_many_pixels_as_allowed_are_accepted() -> None:
    assert read_header(png(8_000, 8_000, 8, 2, b"")).width_px == 8_000


def test_a_large_file_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo(0), "PNG")
    monkeypatch.setattr(images, "MAX_BYTES", len(data) - 1)
    assert reason(read_header, data) == "oversized"
    monkeypatch.setattr(images, "MAX_BYTES", len(data))
    assert read_header(data).format == "png"


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "empty"), (b"Not Found\n" * 20, "not_image"), (b"\x00" * 64, "not_image")]
)
def test_what_is_no_image(data: bytes, code: str) -> None:
    for function in (read_header, decode_rgb, thumbnail):
        assert reason(function, data) == code


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated(form: str, part: float) -> None:
    """Both passes over the bytes notice. The header alone cannot: it is whole, and must not be taken for an error."""
    data = encoded(photo(0), form, quality=95)
    cut = data[: int(len(data) * part)]
    assert reason(decode_rgb, cut) in ("truncated", "not_image")
    assert reason(thumbnail, cut) == reason(decode_rgb, cut)
    if form != "WEBP":  # whose header has the file's size
        assert read_header(cut).width_px == 64


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damage_raises_nothing_but_reject(form: str) -> None:
    """A unit takes an OSError for the machine's fault, and fails; a broken image must never be one."""
    data = encoded(photo(0), form)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        for offset in random.integers(0, random.choice([40, 200, len(data)]), 3):
            damaged[offset] = random.integers(256)
        for function in (read_header, decode_rgb, thumbnail):
            try:
                function(bytes(damaged[: random.integers(1, 2 * len(data))]))
            except Reject:
                refused += 1
    assert refused > 50


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM", b"rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_says_nothing(form: str, exif: bytes) -> None:
    data = encoded(photo(0), form, exif=exif)
    assert read_header(data).upright
    assert decode_rgb(data).shape == (48, 64, 3)


def test_the_header_of_a_png_is_read_without_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow looks for EXIF data behind the pixels, and decodes them on the way."""

    def load(self: PILImage.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert read_header(encoded(photo(0), "PNG")).upright


# --- modes ---


def test_grayscale_is_repeated() -> None:
    gray = photo(0)[..., 0]
    np.testing.assert_array_equal(decode_rgb(encoded(gray, "PNG")), np.stack([gray] * 3, axis=-1))


def test_16_bit_gray_keeps_its_high_byte() -> None:
    gray = photo(0)[..., 0]
    deep = gray.astype(np.uint16) << 8 | 0xFF
    data = encoded(deep, "PNG")
    assert read_header(data).mode.startswith("I")
    np.testing.assert_array_equal(decode_rgb(data), np.stack([gray] * 3, axis=-1))
    assert thumbnail(data).max() <= 1


def test_16_bit_rgb_keeps_its_high_byte() -> None:
    pixels = photo(0)
    deep = (pixels.astype(">u2") << 8 | 0x7F).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    np.testing.assert_array_equal(decode_rgb(png(64, 48, 16, 2, rows)), pixels)


def test_cmyk_jpeg() -> None:
    pixels = photo(0)
    data = encoded(PILImage.fromarray(pixels).convert("CMYK"), "JPEG", quality=95)
    assert read_header(data).mode == "CMYK"
    assert np.abs(decode_rgb(data).astype(int) - pixels).mean() < 4
    assert thumbnail(data).shape == (6, 8, 3)


def test_transparency_is_laid_over_white() -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:24] = 255
    rgba = np.dstack([photo(0), alpha])
    decoded = decode_rgb(encoded(rgba, "PNG"))
    np.testing.assert_array_equal(decoded[:24], photo(0)[:24])
    assert (decoded[24:] == 255).all()


def test_half_transparent_gray() -> None:
    gray_alpha = PILImage.fromarray(np.full((8, 8), 100, np.uint8)).convert("LA")
    gray_alpha.putalpha(51)  # a fifth: 255 - (255 - 100) / 5 = 224
    assert (decode_rgb(encoded(gray_alpha, "PNG")) == 224).all()


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_with_transparency(form: str) -> None:
    palette = PILImage.fromarray(np.eye(8, dtype=np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 0])
    data = encoded(palette, form, transparency=1)
    expected = np.where(np.eye(8)[..., None] == 1, 255, [10, 20, 30])
    np.testing.assert_array_equal(decode_rgb(data), expected)


# --- orientation ---

TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
"""What a viewer does to stored pixels of each EXIF orientation."""


def oriented(form: str, orientation: int, **options: Any) -> bytes:
    image = PILImage.fromarray(photo(0))
    exif = image.getexif()
    exif[0x0112] = orientation
    return encoded(image, form, exif=exif, **options)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_orientation(form: str, orientation: int) -> None:
    data = oriented(form, orientation, **LOSSLESS[form])
    expected = TURNS[orientation](photo(0))
    np.testing.assert_array_equal(decode_rgb(data), expected)
    header = read_header(data)
    assert (header.height_px, header.width_px) == expected.shape[:2]
    assert header.upright == (orientation == 1)
    image = stored("input", data)
    assert (image.height_px, image.width_px) == expected.shape[:2]
    assert image.data == data


@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_of_a_jpeg(orientation: int) -> None:
    data = oriented("JPEG", orientation, quality=95)
    expected = TURNS[orientation](photo(0))
    assert decode_rgb(data).shape == expected.shape
    assert np.abs(decode_rgb(data).astype(int) - expected).mean() < 4
    small = thumbnail(encoded(np.ascontiguousarray(expected), "PNG"))
    np.testing.assert_allclose(thumbnail(data), small, atol=0.1)


# --- thumbnails and new images ---


@pytest.mark.parametrize(
    ("width_px", "height_px"), [(1, 1), (5, 3), (7, 64), (64, 7), (8, 8), (9, 8), (15, 17), (64, 48), (33, 20)]
)
def test_thumbnails_of_equal_images_have_equal_sizes(width_px: int, height_px: int) -> None:
    """A pair may be a JPEG and a PNG; gates compare their thumbnails pixel by pixel."""
    pixels = photo(0)[:height_px, :width_px] if height_px <= 48 else np.resize(photo(0), (height_px, width_px, 3))
    shapes = {thumbnail(encoded(pixels, form, **options)).shape for form, options in {"JPEG": {}, **LOSSLESS}.items()}
    assert shapes == {(-(-height_px // 8), -(-width_px // 8), 3)}


def test_a_thumbnail_is_the_mean_of_blocks() -> None:
    expected = photo(0).reshape(6, 8, 8, 8, 3).mean(axis=(1, 3)) / 255
    for form, options in {"JPEG": {"quality": 95}, **LOSSLESS}.items():
        small = thumbnail(encoded(photo(0), form, **options))
        assert small.dtype == np.float32
        np.testing.assert_allclose(small, expected, atol=0.08 if form == "JPEG" else 0.003)


def _forms() -> dict[str, bytes]:
    """A photo of 451 x 300 px in what is decoded in different ways."""
    whole = PILImage.fromarray(skimage.data.chelsea())
    turned = PILImage.Exif()
    turned[0x0112] = 6
    wide_gamut = adobe_rgb()
    assert wide_gamut is not None
    see_through = whole.copy()
    see_through.putalpha(whole.convert("L"))
    return {
        "JPEG": encoded(whole, "JPEG", quality=95),
        "progressive": encoded(whole, "JPEG", quality=95, progressive=True),
        "grey": encoded(whole.convert("L"), "JPEG", quality=95),
        "turned": encoded(whole, "JPEG", quality=95, exif=turned),
        "CMYK": encoded(whole.convert("CMYK"), "JPEG", quality=95),
        "Adobe RGB": encoded(whole, "JPEG", quality=95, icc_profile=wide_gamut.profile),
        "PNG": encoded(whole, "PNG"),
        "alpha": encoded(see_through, "PNG"),
        "16 bits": encoded(np.asarray(whole.convert("L")).astype(np.uint16) * 257, "PNG"),
    }


def test_fitted_is_the_decoded_image_made_smaller() -> None:
    for name, data in _forms().items():
        whole = PILImage.fromarray(decode_rgb(data))
        for width_px, height_px in ((32, 21), (160, 106), (300, 200)):
            size = (height_px, width_px) if name == "turned" else (width_px, height_px)
            expected = np.asarray(whole.resize(size, PILImage.Resampling.LANCZOS), np.int16)
            small = fitted(data, width_px)
            assert (small.mode, small.size) == ("RGB", size)
            assert np.abs(np.asarray(small, np.int16) - expected).mean() < 1.5, name


def test_fitted_enlarges_nothing_and_keeps_a_pixel() -> None:
    np.testing.assert_array_equal(np.asarray(fitted(encoded(photo(0), "PNG"), 64)), photo(0))
    assert fitted(encoded(np.zeros((2, 9_000, 3), np.uint8), "JPEG"), 160).size == (160, 1)


def test_a_large_jpeg_is_decoded_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    load, sizes = images._load, list[tuple[int, int]]()

    def note(image: PILImage.Image, data: bytes) -> None:
        sizes.append(image.size)
        load(image, data)

    monkeypatch.setattr(images, "_load", note)
    fitted(encoded(np.zeros((2_160, 3_840, 3), np.uint8), "JPEG"), 320)
    assert sizes == [(960, 540)]


@pytest.mark.parametrize("size_px", [(1, 1), (48, 64), (2, 20_000)])
def test_a_new_image_is_lossless(size_px: tuple[int, int]) -> None:
    pixels: Pixels = np.random.default_rng(0).integers(0, 256, (*size_px, 3), np.uint8)
    image = encode_lossless("target", pixels)
    np.testing.assert_array_equal(decode_rgb(image.data), pixels)
    assert image == stored("target", image.data)  # what it says of itself is what its header says


def test_a_decoded_image_is_not_read_again_for_its_thumbnail(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo(0), "JPEG", quality=95)
    drafted = thumbnail(bytes(bytearray(data)))  # another object: read by itself
    with remembering():
        decode_rgb(data)
        with monkeypatch.context() as patch:
            patch.setattr(images, "_open", None)
            np.testing.assert_allclose(thumbnail(data), drafted, atol=0.02)


def test_without_a_memory_a_thumbnail_depends_on_the_bytes_alone() -> None:
    data = encoded(photo(0), "JPEG", quality=95)
    drafted = thumbnail(data)
    decode_rgb(data)
    np.testing.assert_array_equal(thumbnail(data), drafted)
    with remembering():
        decode_rgb(data)
        assert (thumbnail(data) != drafted).any()  # by JPEG's rounding
    np.testing.assert_array_equal(thumbnail(data), drafted)
