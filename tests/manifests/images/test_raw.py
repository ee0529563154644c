"""RAW files as cameras and converters lay them out, written by tifffile, and by hand where they are no TIFF."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb, read_header, thumbnail
from manifests.images.raw import raw_kind
from manifests.schema import Reject
from tests.manifests.make import photo

SENSOR = np.repeat(np.repeat(photo(0)[..., 1], 4, axis=0), 4, axis=1).astype(np.uint16) * 64
DNG_VERSION = (50706, 1, 4, b"\1\4\0\0", True)
CFA = 32803


def tiff(*images: tuple[np.ndarray[Any, Any], dict[str, Any]], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for pixels, how in images:
            writer.write(pixels, metadata=None, **how)
    return buffer.getvalue()


def with_thumbnail(byteorder: str = "<", sensor: int | str = CFA, **first: Any) -> bytes:
    """A thumbnail, and the sensor's values below it: DNG, NEF and ARW have it so."""
    return tiff(
        (photo(0), {"photometric": "rgb", "subifds": 1, **first}),
        (SENSOR, {"photometric": sensor, "subfiletype": 0}),
        byteorder=byteorder,
    )


FILES = {
    "DNG": with_thumbnail(subfiletype=1, extratags=[DNG_VERSION]),
    "DNG, linear": tiff((photo(0), {"photometric": "rgb", "extratags": [DNG_VERSION]})),
    "NEF": with_thumbnail(">", subfiletype=1),
    "ARW": with_thumbnail(),
    "unnamed sensor": with_thumbnail(sensor="minisblack"),
    "PEF": tiff((SENSOR, {"photometric": CFA})),
    "3FR, the sensor second": tiff((photo(0), {"photometric": "rgb"}), (SENSOR, {"photometric": CFA})),
    "a thumbnail by its own word": tiff(
        (photo(0), {"photometric": "rgb", "subfiletype": 1}), (SENSOR, {"photometric": "minisblack"})
    ),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(200),
    "ORF": b"IIRO\x08\0\0\0" + bytes(200),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(200),
    "X3F": b"FOVb" + bytes(200),
}


@pytest.mark.parametrize("name", FILES)
def test_raw_is_refused_by_its_name(name: str) -> None:
    for read in (read_header, decode_rgb, thumbnail):
        with pytest.raises(Reject, match="camera RAW") as caught:
            read(FILES[name])
        assert caught.value.reason == "raw"
    assert name not in ("DNG", "CR2", "CR3", "RAF", "ORF", "RW2", "X3F") or raw_kind(FILES[name]) == name


def test_other_tiff_files_are_read() -> None:
    """Of several pages the first; smaller copies below it, as pyramids have them, are no sign of RAW."""
    pages = tiff((photo(0), {"photometric": "rgb"}), (photo(1)[:40], {"photometric": "rgb"}))
    pyramid = tiff(
        (photo(0), {"photometric": "rgb", "subifds": 1}), (photo(0)[::2, ::2], {"photometric": "rgb", "subfiletype": 1})
    )
    big = tiff((photo(0), {"photometric": "rgb"}), bigtiff=True)
    for data in (pages, pyramid, big):
        np.testing.assert_array_equal(decode_rgb(data), tifffile.imread(io.BytesIO(data), key=0))


def test_directories_that_lead_to_each_other_come_to_an_end() -> None:
    buffer = io.BytesIO()
    PILImage.fromarray(photo(0)).save(buffer, "TIFF")
    data = bytearray(buffer.getvalue())
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    place = first + 2 + 12 * count
    data[place : place + 4] = first.to_bytes(4, "little")
    assert raw_kind(bytes(data)) is None
    assert raw_kind(bytes(data[: first + 7])) is None


# --- values that are no pixels of 8 or 16 bits ---


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i2", "i4", "u4", "u8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_values_whose_range_no_file_states_are_refused(byteorder: str, kind: str, channels: int) -> None:
    values = (photo(0)[..., 0] if channels == 1 else photo(0)) / 255 * (1 if kind[0] == "f" else 100)
    photometric = "minisblack" if channels == 1 else "rgb"
    data = tiff((values.astype(kind), {"photometric": photometric}), byteorder=byteorder)
    with pytest.raises(Reject, match=f"{8 * int(kind[1])}-bit") as caught:
        decode_rgb(data)
    assert caught.value.reason == "unread_values"


def test_a_float_map_is_refused() -> None:
    with pytest.raises(Reject, match="floating-point") as caught:
        decode_rgb(b"Pf 64 48 -1.0\n" + (photo(0)[..., 0] / 255).astype("<f4").tobytes())
    assert caught.value.reason == "unread_values"


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bits_of_a_tiff_are_what_tifffile_reads(byteorder: str, compression: str | None) -> None:
    deep = np.random.default_rng(0).integers(0, 65_536, (48, 64, 3), np.uint16)
    for pixels, photometric in ((deep, "rgb"), (deep[..., 0], "minisblack")):
        how = {"photometric": photometric, "compression": compression}
        data = tiff((pixels, how), byteorder=byteorder)
        read = tifffile.imread(io.BytesIO(data)) >> 8
        np.testing.assert_array_equal(decode_rgb(data), read if read.ndim == 3 else np.stack([read] * 3, axis=-1))


def test_white_may_be_zero() -> None:
    for gray in (photo(0)[..., 0], photo(0)[..., 0].astype(np.uint16) << 8):
        data = tiff((gray, {"photometric": "miniswhite"}))
        expected = 255 - (gray if gray.dtype == np.uint8 else gray >> 8)
        np.testing.assert_array_equal(decode_rgb(data)[..., 0], expected)


def test_deep_planes_are_refused_and_others_are_read() -> None:
    """Pillow takes the bytes of planes of 16 bits for pixels."""
    planes = np.moveaxis(photo(0), 2, 0)
    how = {"photometric": "rgb", "planarconfig": "separate"}
    np.testing.assert_array_equal(decode_rgb(tiff((planes, how))), photo(0))
    with pytest.raises(Reject, match="planes") as caught:
        decode_rgb(tiff((planes.astype(np.uint16) << 8, how)))
    assert caught.value.reason == "unread_values"


def test_12_bits_are_seen_as_the_whole_of_their_range() -> None:
    gray = photo(0)[..., 0]
    high = gray.astype(np.uint16) << 4 | 0x9
    first, second = high[:, ::2], high[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8)
    data = bytearray(tiff((packed.reshape(48, 96), {"photometric": "minisblack"})))
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        tags = opened.pages[0].tags  # type: ignore[union-attr]
        width, bits = tags["ImageWidth"].valueoffset, tags["BitsPerSample"].valueoffset
    data[width : width + 4], data[bits : bits + 2] = (64).to_bytes(4, "little"), (12).to_bytes(2, "little")
    np.testing.assert_array_equal(decode_rgb(bytes(data))[..., 0], gray)
