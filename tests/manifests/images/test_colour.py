"""Colours are those that other decoders see: LittleCMS called directly, with real profiles, and formulas by hand."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PILImage
from PIL import ImageCms

from manifests.images.pixels import decode_rgb, read_header, thumbnail
from manifests.schema import Reject
from tests.manifests.make import photo
from tests.sources import real_profile, seen_by_lcms

SRGB = ImageCms.createProfile("sRGB")


ADOBE_RGB, DISPLAY, DOT_GAIN, IEC_SRGB = (
    real_profile(name) for name in ("rocket.jpg", "color.png", "page.png", "astronaut.png")
)


def encoded(image: PILImage.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def furthest(data: bytes, expected: npt.ArrayLike) -> int:
    return int(np.abs(decode_rgb(data).astype(int) - np.asarray(expected, np.int64)).max())


def reason(data: bytes) -> str:
    with pytest.raises(Reject) as caught:
        decode_rgb(data)
    return caught.value.reason


RGB = PILImage.fromarray(photo(0))
GRAY = RGB.convert("L")
LOSSLESS: list[tuple[str, dict[str, Any]]] = [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]


# --- profiles ---


@pytest.mark.parametrize(("form", "options"), LOSSLESS)
@pytest.mark.parametrize(("profile", "away"), [(ADOBE_RGB, 10), (DISPLAY, 4)], ids=["Adobe RGB", "a display's"])
def test_a_profile_is_heeded(form: str, options: dict[str, Any], profile: bytes, away: int) -> None:
    data = encoded(RGB, form, icc_profile=profile, **options)
    expected = seen_by_lcms(RGB, profile)
    assert furthest(data, expected) == 0
    assert np.abs(expected.astype(int) - photo(0)).max() > away, "the profile does something"
    assert not read_header(data).plain
    shrunk = expected.reshape(6, 8, 8, 8, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(thumbnail(data), shrunk, atol=0.03)


def test_a_profile_of_a_jpeg_or_an_avif_is_heeded() -> None:
    for form, options, within in (("JPEG", {"quality": 100, "subsampling": 0}, 8), ("AVIF", {"quality": 100}, 16)):
        data = encoded(RGB, form, icc_profile=ADOBE_RGB, **options)
        plain = np.asarray(PILImage.open(io.BytesIO(data)).convert("RGB"))
        assert furthest(data, seen_by_lcms(PILImage.fromarray(plain), ADOBE_RGB)) == 0
        assert furthest(data, seen_by_lcms(RGB, ADOBE_RGB)) < within


def test_the_profile_of_srgb_changes_nothing_and_costs_no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RGB, "PNG", icc_profile=IEC_SRGB)
    assert read_header(data).plain

    def apply(*_: object) -> None:
        raise AssertionError("it was converted")

    monkeypatch.setattr(ImageCms.ImageCmsTransform, "apply", apply)
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", apply)
    for form, options in (*LOSSLESS, ("JPEG", {"quality": 90})):
        for icc in (IEC_SRGB, None):
            same = encoded(RGB, form, icc_profile=icc, **options)
            with PILImage.open(io.BytesIO(same)) as image:
                assert furthest(same, np.asarray(image)) == 0


def test_gray_with_a_gray_profile_and_with_one_of_colours() -> None:
    assert furthest(encoded(GRAY, "PNG", icc_profile=DOT_GAIN), seen_by_lcms(GRAY, DOT_GAIN)) == 0
    expected = seen_by_lcms(GRAY.convert("RGB"), ADOBE_RGB)
    assert furthest(encoded(GRAY, "TIFF", icc_profile=ADOBE_RGB), expected) == 0


def test_a_gray_profile_of_a_file_that_decoders_make_colours_of() -> None:
    bits = PILImage.fromarray(np.tile(np.array([0, 255], np.uint8), (40, 24))).convert("1")
    assert furthest(encoded(bits, "PNG", icc_profile=DOT_GAIN), seen_by_lcms(bits.convert("L"), DOT_GAIN)) == 0
    gray = PILImage.fromarray(np.tile(np.arange(0, 240, 5, dtype=np.uint8), (40, 1)))
    webp = encoded(gray, "WEBP", lossless=True, icc_profile=DOT_GAIN)  # which has no grey
    assert furthest(webp, seen_by_lcms(gray, DOT_GAIN)) == 0
    assert reason(encoded(PILImage.fromarray(photo(0)), "WEBP", icc_profile=DOT_GAIN)) == "unknown_colours"


def test_deep_gray_with_a_profile() -> None:
    deep = PILImage.fromarray(np.asarray(GRAY).astype(np.uint16) << 8 | 0x33)
    assert furthest(encoded(deep, "PNG", icc_profile=DOT_GAIN), seen_by_lcms(GRAY, DOT_GAIN)) == 0


@pytest.mark.parametrize(("form", "options"), LOSSLESS)
@pytest.mark.parametrize("kind", ["RGBA", "LA"])
def test_transparency_is_laid_over_white_after_the_conversion(kind: str, form: str, options: dict[str, Any]) -> None:
    image, profile = (RGB, ADOBE_RGB) if kind == "RGBA" else (GRAY, DOT_GAIN)
    if kind == "LA" and form == "WEBP":
        pytest.skip("WebP has no gray")
    alpha = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    with_alpha = image.copy()
    with_alpha.putalpha(PILImage.fromarray(alpha))
    share = alpha[..., None] / 255
    expected = seen_by_lcms(image, profile) * share + 255 * (1 - share)
    assert np.abs(decode_rgb(encoded(with_alpha, form, icc_profile=profile, **options)) - expected).max() < 1.01


def test_a_palette_with_a_profile_and_a_transparent_colour() -> None:
    palette = RGB.quantize(20)
    expected = seen_by_lcms(palette.convert("RGB"), ADOBE_RGB)
    assert furthest(encoded(palette, "PNG", icc_profile=ADOBE_RGB), expected) == 0
    clear = np.where(np.asarray(palette)[..., None] == 3, 255, expected)
    assert furthest(encoded(palette, "PNG", icc_profile=ADOBE_RGB, transparency=3), clear) == 0


def cmyk_profile() -> bytes:
    """A printer's profile (ICC.1:2022, section 10.11: lut8Type) whose inks are Lab colours of an unusual press."""
    nodes = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lightness = 255 * (1 - nodes @ np.array([0.2, 0.3, 0.05, 0.4]))
    lab = np.stack([lightness, 128 - 60 * nodes[:, 0] + 70 * nodes[:, 1], 128 - 50 * nodes[:, 0] + 90 * nodes[:, 2]])
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += ramp * 4 + lab.T.clip(0, 255).astype(np.uint8).tobytes() + ramp * 3
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc\0\0\0\0" + struct.pack(">I", 6) + b"press\0" + bytes(78)
    tags, body, places = [(b"A2B0", table), (b"wtpt", white), (b"desc", name)], b"", b""
    for key, content in tags:
        places += key + struct.pack(">II", 128 + 4 + 36 + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    head = struct.pack(">I4sI4s4s4s", 128 + 4 + 36 + len(body), b"", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + places + body


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_cmyk_goes_by_its_profile(form: str) -> None:
    profile = cmyk_profile()
    data = encoded(RGB.convert("CMYK"), form, icc_profile=profile, **({"quality": 95} if form == "JPEG" else {}))
    with PILImage.open(io.BytesIO(data)) as inks:
        expected = seen_by_lcms(inks, profile)
        naive = np.asarray(inks.convert("RGB"), np.int64)
    assert furthest(data, expected) == 0
    assert np.abs(expected.astype(int) - naive).mean() > 10, "the profile does something"


def test_cmyk_without_a_profile_is_what_opencv_sees() -> None:
    data = encoded(RGB.convert("CMYK"), "JPEG", quality=95)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None and furthest(data, bgr[..., ::-1]) <= 1


def test_lab_is_converted() -> None:
    lab = ImageCms.profileToProfile(RGB, SRGB, ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    assert np.abs(decode_rgb(encoded(lab, "TIFF")).astype(int) - photo(0)).mean() < 2  # 8 bits of Lab are coarse


@pytest.mark.parametrize(
    ("image", "profile"),
    [
        pytest.param(RGB, b"rubbish" * 100, id="no profile"),
        pytest.param(RGB, ADOBE_RGB[:300], id="cut off"),
        pytest.param(RGB, DOT_GAIN, id="of gray, for colours"),
        pytest.param(RGB.convert("CMYK"), ADOBE_RGB, id="of a display, for inks"),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_colours_that_cannot_be_known_are_not_guessed(image: PILImage.Image, profile: bytes, form: str) -> None:
    data = encoded(image, form, icc_profile=profile)
    assert reason(data) == "unknown_colours"
    assert not read_header(data).plain


# --- what is said without a profile ---


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """The photo as PNG with further chunks behind the header."""
    data = encoded(RGB, "PNG")
    more = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return data[:33] + more + data[33:]


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chrm(*values: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


def encoded_srgb(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """IEC 61966-2-1, to levels of 255."""
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def decoded_srgb(levels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    values = levels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


# Of linear values: Adobe RGB (1998), section 4.3.5.3 (to XYZ), and IEC 61966-2-1 (from XYZ), both with D65.
ADOBE_TO_XYZ = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
XYZ_TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
# SMPTE EG 432-1, annex A: Display P3's primaries with D65, to XYZ.
P3_TO_XYZ = np.array([[0.48657, 0.26567, 0.19822], [0.22897, 0.69174, 0.07929], [0.0, 0.04511, 1.04394]])

ADOBE_CHRM = chrm(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_CHRM = chrm(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
AS_ADOBE = encoded_srgb((photo(0) / 255) ** (563 / 256) @ (XYZ_TO_SRGB @ ADOBE_TO_XYZ).T)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png_with(gama(1)), encoded_srgb(photo(0) / 255), id="linear"),
        pytest.param(png_with(gama(1 / 1.8)), encoded_srgb((photo(0) / 255) ** 1.8), id="gamma 1.8"),
        pytest.param(png_with(gama(256 / 563), ADOBE_CHRM), AS_ADOBE, id="Adobe RGB"),
        pytest.param(
            png_with((b"cICP", bytes([12, 13, 0, 1])), (b"sRGB", b"\0")),
            encoded_srgb(decoded_srgb(photo(0)) @ (XYZ_TO_SRGB @ P3_TO_XYZ).T),
            id="Display P3, whatever else is said",
        ),
    ],
)
def test_gamma_and_primaries_of_a_png_are_heeded(data: bytes, expected: npt.NDArray[np.float64]) -> None:
    assert np.abs(decode_rgb(data) - expected).max() < 2
    assert np.abs(photo(0) - expected).max() > 4
    assert not read_header(data).plain


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([gama(0.45455)], id="the gamma of sRGB"),
        pytest.param([gama(0.45455), SRGB_CHRM], id="with its primaries"),
        pytest.param([(b"sRGB", b"\0"), gama(1), ADOBE_CHRM], id="sRGB comes first"),
        pytest.param([(b"cICP", bytes([1, 13, 0, 1])), gama(1)], id="cICP comes first"),
        pytest.param([gama(0), chrm(0, 0, 0, 0, 0, 0, 0, 0)], id="nothing that could be"),
    ],
)
def test_what_says_srgb_is_kept_as_it_is(chunks: list[tuple[bytes, bytes]]) -> None:
    data = png_with(*chunks)
    assert read_header(data).plain
    assert furthest(data, photo(0)) == 0


def test_16_bits_of_linear_light_are_refused_and_others_are_read() -> None:
    """In high bytes, the darkest steps of linear light are 13 levels of sRGB apart."""

    def deep_png(*chunks: tuple[bytes, bytes]) -> bytes:
        encoded_ok, file = cv2.imencode(".png", photo(0)[..., ::-1].astype(np.uint16) << 8 | 0x40)
        assert encoded_ok
        return file.tobytes()[:33] + png_with(*chunks)[33 : -len(encoded(RGB, "PNG")) + 33] + file.tobytes()[33:]

    assert reason(deep_png(gama(1))) == "unread_values"
    assert np.abs(decode_rgb(png_with(gama(1))) - encoded_srgb(photo(0) / 255)).max() < 2  # 8 bits have no more to give
    seen = decode_rgb(deep_png(gama(256 / 563), ADOBE_CHRM))
    assert np.abs(seen - AS_ADOBE).max() < 2


def test_a_profile_comes_before_the_other_chunks() -> None:
    with_profile = encoded(RGB, "PNG", icc_profile=ADOBE_RGB)
    data = with_profile[:33] + png_with(gama(1), (b"sRGB", b"\0"))[33 : 33 + 16 + 13] + with_profile[33:]
    assert furthest(data, seen_by_lcms(RGB, ADOBE_RGB)) == 0


@pytest.mark.parametrize("curve", [16, 18])
def test_hdr_is_refused(curve: int) -> None:
    assert reason(png_with((b"cICP", bytes([9, curve, 0, 1])))) == "unknown_colours"
    avif = encoded(RGB, "AVIF")
    place = avif.index(b"colrnclx") + 8
    assert reason(avif[:place] + struct.pack(">HH", 9, curve) + avif[place + 4 :]) == "unknown_colours"
    p3 = avif[:place] + struct.pack(">HH", 12, 13) + avif[place + 4 :]
    plain = np.asarray(PILImage.open(io.BytesIO(avif)).convert("RGB"))
    expected = encoded_srgb(decoded_srgb(plain) @ (XYZ_TO_SRGB @ P3_TO_XYZ).T)
    assert np.abs(decode_rgb(p3) - expected).max() < 2 and read_header(avif).plain


def test_the_narrow_range_of_video_is_refused() -> None:
    assert reason(png_with((b"cICP", bytes([1, 13, 0, 0])))) == "unknown_colours"


def test_a_camera_that_marks_adobe_rgb_in_exif_alone() -> None:
    def taken(index: str) -> bytes:
        exif = PILImage.Exif()
        exif[0x8769] = {0xA001: 65_535, 0xA005: {1: index}}
        return encoded(RGB, "JPEG", quality=95, exif=exif)

    with PILImage.open(io.BytesIO(taken("R03"))) as image:
        expected = seen_by_lcms(image, ADOBE_RGB)
    assert furthest(taken("R03"), expected) <= 1
    assert read_header(taken("R98")).plain and not read_header(taken("R03")).plain


def test_a_profile_inside_a_bmp() -> None:
    rows = np.asarray(RGB)[::-1, :, ::-1].tobytes()
    start = 14 + 124
    size = struct.pack("<IiiHHIIiiII", 124, 64, 48, 1, 24, 0, len(rows), 0, 0, 0, 0)
    rest = bytes(16) + b"DEBM" + bytes(48) + struct.pack("<III", 4, 124 + len(rows), len(ADOBE_RGB)) + bytes(4)
    head = b"BM" + struct.pack("<IHHI", start + len(rows) + len(ADOBE_RGB), 0, 0, start)
    data = head + size + rest + rows + ADOBE_RGB
    assert furthest(data, seen_by_lcms(RGB, ADOBE_RGB)) == 0
