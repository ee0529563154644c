from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.schema import Reject
from operators.arrange.dense import Values, dense, dense_on, numbers
from tests.fixtures import depth_mm, normals_rgb
from tests.sources import encode, photo, turned_jpeg

_MASK = np.tile(np.array([0, 1, 255, 7], np.uint8), (40, 12))


def _raw(values: Values, bits: int) -> np.ndarray:
    """48 x 40 px of numbers."""
    if values == "depth_mm":
        return depth_mm(0)
    raw = photo(0)[..., 0] // 2 if values == "class_ids" else normals_rgb(0)
    return raw if bits == 8 else raw.astype(np.uint16) * (1 if values == "class_ids" else 257)


KINDS: list[tuple[Values, int]] = [
    ("depth_mm", 16), ("class_ids", 8), ("class_ids", 16), ("normals", 8), ("negated_normals", 16),
]  # fmt: skip


def _png(raw: np.ndarray) -> bytes:
    """OpenCV's file of H x W or H x W x 3 numbers, of 8 or 16 bits."""
    return cv2.imencode(".png", raw if raw.ndim == 2 else raw[..., ::-1])[1].tobytes()


def _read(data: bytes) -> np.ndarray:
    """OpenCV's numbers of a file."""
    raw = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    return raw if raw.ndim == 2 else raw[..., ::-1]


@pytest.mark.parametrize(("values", "bits"), KINDS)
def test_a_map_on_the_grid_of_its_photo_keeps_its_bytes(values: Values, bits: int) -> None:
    raw = _raw(values, bits)
    for photo_of in (encode(photo(1), "JPEG"), turned_jpeg(photo(1, 40, 48), 6)):
        image, step = dense_on(photo_of, _png(raw), values)
        assert image.data == _png(raw)
        assert step.params == {"target": values}
        assert np.array_equal(numbers(image), raw)


@pytest.mark.parametrize(("values", "bits"), KINDS)
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_map_that_was_drawn_before_its_photo_was_turned_is_turned(
    values: Values, bits: int, orientation: int
) -> None:
    raw, jpeg = _raw(values, bits), turned_jpeg(photo(1), orientation)
    image, step = dense_on(jpeg, _png(raw), values)
    expected = {
        5: cv2.transpose(raw),
        6: cv2.rotate(raw, cv2.ROTATE_90_CLOCKWISE),
        7: cv2.rotate(cv2.transpose(raw), cv2.ROTATE_180),
        8: cv2.rotate(raw, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    if "normals" not in values:
        assert np.array_equal(_read(image.data), expected[orientation])
    assert (image.width_px, image.height_px) == (40, 48)
    assert step.params == {"target": values, "turned": True}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_normals_point_where_the_turned_surface_does(orientation: int, sign: int, bits: int) -> None:
    """The oracle turns a surface's depths as a picture, and takes its normals (x right, y down) from those."""
    rows, columns = np.mgrid[:40, :48]
    surface = 0.01 * columns**2 + 0.3 * rows + 5 * np.sin(rows / 7)
    values: Values = "normals" if sign == 1 else "negated_normals"
    image, _ = dense_on(turned_jpeg(photo(1), orientation), _png(_normals_of(surface, sign, bits)), values)
    seen = {
        5: surface.T,
        6: np.rot90(surface, -1),
        7: np.rot90(surface, 2).T,
        8: np.rot90(surface),
    }
    expected = _normals_of(seen[orientation], sign, bits).astype(np.int64)
    assert np.abs(_read(image.data) - expected).max() <= 1  # of 255 or 65,535: both round


def _normals_of(surface: np.ndarray, sign: int, bits: int) -> np.ndarray:
    down, right = np.gradient(surface)
    normals = np.stack([-right, -down, np.ones_like(surface)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    highest = 2**bits - 1
    return np.asarray(np.rint((sign * normals + 1) / 2 * highest), np.uint8 if bits == 8 else np.uint16)


def test_a_pixel_without_a_normal_stays_black_when_it_is_turned() -> None:
    raw = normals_rgb(0)
    raw[:5] = 0
    image, _ = dense_on(turned_jpeg(photo(1), 6), _png(raw), "normals")
    assert not _read(image.data)[:, -5:].any()


@pytest.mark.parametrize(("values", "bits"), KINDS)
def test_what_a_mask_says_has_no_value_is_0(values: Values, bits: int) -> None:
    raw = _raw(values, bits)
    image, step = dense_on(encode(photo(1)), _png(raw), values, encode(_MASK))
    expected = raw.copy()
    expected[_MASK == 0] = 0
    assert np.array_equal(_read(image.data), expected)
    assert step.params == {"target": values, "masked": 0.25}


def test_a_mask_lies_on_the_grid_of_its_map_and_is_turned_with_it() -> None:
    raw = _raw("class_ids", 8)
    image, step = dense_on(turned_jpeg(photo(1), 6), _png(raw), "class_ids", encode(_MASK))
    assert np.array_equal(_read(image.data), cv2.rotate(raw * (_MASK > 0).astype(np.uint8), cv2.ROTATE_90_CLOCKWISE))
    assert step.params == {"target": "class_ids", "turned": True, "masked": 0.25}


def test_a_mask_that_takes_nothing_changes_no_byte() -> None:
    raw = _png(normals_rgb(0))
    for mask in (np.full((40, 48), 1, np.uint8), np.full((40, 48), 65_535, np.uint16)):
        image, step = dense_on(encode(photo(1)), raw, "normals", _png(mask))
        assert (image.data, step.params) == (raw, {"target": "normals", "masked": 0.0})


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (encode(_MASK[:-1]), "size_mismatch"),
        (encode(_MASK.T.copy()), "size_mismatch"),
        (encode(_MASK, "JPEG"), "wrong_values"),
        (encode(photo(0)), "wrong_values"),
        (encode(_MASK)[:-30], "truncated"),
        (b"", "empty"),
    ],
)
def test_a_mask_that_cannot_be_read_rejects_its_pair(mask: bytes, reason: str) -> None:
    with pytest.raises(Reject) as caught:
        dense_on(encode(photo(1)), _png(normals_rgb(0)), "normals", mask)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("data", "values", "named"),
    [
        (encode(photo(0)[..., 0]), "depth_mm", "8-bit gray"),
        (encode(photo(0)[..., 0], "JPEG"), "class_ids", "jpeg L, which is lossy"),
        (encode(photo(0)), "class_ids", "8-bit RGB"),
        (encode(np.dstack([photo(0), photo(0)[..., 0]])), "normals", "8-bit RGB and alpha"),
        (_png(depth_mm(0)), "normals", "16-bit gray"),
        (encode(photo(0)[..., 0], "TIFF"), "class_ids", "tiff L"),
    ],
)
def test_a_file_of_another_kind_is_rejected_and_named(data: bytes, values: Values, named: str) -> None:
    with pytest.raises(Reject, match=f"{values} come as .*, this is {named}") as caught:
        dense(data, values)
    assert caught.value.reason == "wrong_values"


def test_ids_in_4_bits_are_a_palette_s_or_nothing() -> None:
    """Decoders spread the 16 grays of a 4-bit PNG over 0..255; the indices of a palette they leave."""
    ids = (photo(0)[..., 0] // 16).astype(np.uint8)
    image = PILImage.fromarray(ids)
    image.putpalette(bytes(range(48)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=4)
    assert buffer.getvalue()[24:26] == b"\x04\x03"
    assert np.array_equal(numbers(dense(buffer.getvalue(), "class_ids")), ids)
    gray = np.packbits(np.unpackbits(ids[..., None], axis=2)[..., 4:].reshape(40, -1), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in gray)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 48, 40, 4, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    assert np.array_equal(np.asarray(PILImage.open(io.BytesIO(data))), ids * 17)
    with pytest.raises(Reject, match="this is 4-bit gray"):
        dense(data, "class_ids")
