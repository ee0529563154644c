"""Chunks of PNG files: damage is found, and what is no picture stands in no one's way."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import PngImagePlugin

from manifests.images.pixels import decode_rgb, read_header, thumbnail
from manifests.images.png_chunks import SIGNATURE, chunks, without_extras
from manifests.schema import Reject
from tests.manifests.make import photo
from tests.sources import real_profile, seen_by_lcms


def png(info: PngImagePlugin.PngInfo | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(photo(0)).save(buffer, "PNG", pnginfo=info, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def opencv_reads(data: bytes) -> bool:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return image is not None and bool((image[..., ::-1] == photo(0)).all())


def test_chunks_are_those_that_were_written() -> None:
    data = SIGNATURE + chunk(b"IHDR", b"head") + chunk(b"IDAT", b"") + chunk(b"IEND", b"") + b"more"
    found = list(chunks(data))
    assert [(one.name, one.body(data)) for one in found] == [(b"IHDR", b"head"), (b"IDAT", b""), (b"IEND", b"")]
    assert found[-1].end == len(data) - 4
    assert [one.name for one in chunks(data[:-17])] == [b"IHDR"]
    assert not list(chunks(b"GIF89a")) and not list(chunks(b""))


@pytest.mark.parametrize("name", [b"IHDR", b"IDAT", b"IEND"])
@pytest.mark.parametrize("bit", [0, 31])
def test_a_wrong_checksum_alone_is_damage(name: bytes, bit: int) -> None:
    data = png()
    place = next(one.end for one in chunks(data) if one.name == name) - 4
    broken = bytearray(data)
    broken[place + bit // 8] ^= 1 << bit % 8
    for read in (decode_rgb, thumbnail):
        with pytest.raises(Reject, match=name.decode()) as caught:
            read(bytes(broken))
        assert caught.value.reason == "damaged"


def test_a_flipped_bit_anywhere_in_the_pixels_is_damage() -> None:
    data = png()
    start = data.index(b"IDAT") + 4
    for place in np.linspace(start, len(data) - 17, 25).astype(int):
        broken = bytearray(data)
        broken[place] ^= 0x10
        with pytest.raises(Reject) as caught:
            decode_rgb(bytes(broken))
        assert caught.value.reason == "damaged"


def test_a_file_without_its_end_is_truncated_and_what_follows_the_end_is_not_read() -> None:
    with pytest.raises(Reject) as caught:
        decode_rgb(png()[:-12])
    assert caught.value.reason == "truncated"
    np.testing.assert_array_equal(decode_rgb(png() + b"appended"), photo(0))


@pytest.mark.parametrize(("megabytes", "behind"), [(1, False), (3, True), (70, False)])
def test_much_compressed_text_is_no_fault(megabytes: int, behind: bool) -> None:
    """As ComfyUI writes its workflows, before or behind the pixels; libpng reads them too."""
    packed = zlib.compress(b'{"node": 1}' * (megabytes * 100_000))
    for body in (chunk(b"zTXt", b"workflow\0\0" + packed), chunk(b"iTXt", b"prompt\0\1\0\0\0" + packed)):
        data = png()
        place = len(data) - 12 if behind else 33
        data = data[:place] + body + data[place:]
        np.testing.assert_array_equal(decode_rgb(data), photo(0))
        assert read_header(data).plain and thumbnail(data).shape == (6, 8, 3) and opencv_reads(data)


def test_much_text_where_an_orientation_could_be_is_no_fault_either() -> None:
    packed = zlib.compress(b"x" * 3_000_000)
    for body in (
        chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 3_000_000),
        chunk(b"zTXt", b"Raw profile type exif"),
    ):
        data = png()
        np.testing.assert_array_equal(decode_rgb(data[:33] + body + data[33:]), photo(0))


def test_an_orientation_in_a_text_is_followed() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    info.add_text("workflow", "x" * 2_000_000, zip=True)
    np.testing.assert_array_equal(decode_rgb(png(info)), np.rot90(photo(0), -1))


def test_a_large_profile_is_heeded() -> None:
    srgb, adobe_rgb = (real_profile(name) + bytes(2_000_000) for name in ("astronaut.png", "rocket.jpg"))
    assert read_header(png(icc_profile=srgb)).plain
    np.testing.assert_array_equal(decode_rgb(png(icc_profile=srgb)), photo(0))
    expected = seen_by_lcms(PILImage.fromarray(photo(0)), real_profile("rocket.jpg"))
    np.testing.assert_array_equal(decode_rgb(png(icc_profile=adobe_rgb)), expected)


def test_a_profile_that_unpacks_to_too_much_is_refused_without_unpacking_it() -> None:
    with pytest.raises(Reject) as caught:
        decode_rgb(png(icc_profile=bytes(17 * 2**20)))
    assert caught.value.reason == "unknown_colours"


def test_a_file_without_extras_is_not_copied() -> None:
    assert without_extras(data := png()) is data
    assert without_extras(data := b"GIF89a") is data


def test_an_orientation_behind_the_pixels_is_followed() -> None:
    """As Pillow's own getexif finds it, which decodes the whole file."""
    exif = PILImage.Exif()
    exif[0x0112] = 6
    early = png(exif=exif.tobytes())
    body = next(one.body(early) for one in chunks(early) if one.name == b"eXIf")
    plain = png()
    for late in (chunk(b"eXIf", body), chunk(b"eXIf", body) + chunk(b"tEXt", b"a\0b")):
        data = plain[:-12] + late + plain[-12:]
        assert PILImage.open(io.BytesIO(data)).getexif()[0x0112] == 6
        assert not read_header(data).upright
        assert np.array_equal(decode_rgb(data), np.rot90(decode_rgb(plain), -1))
