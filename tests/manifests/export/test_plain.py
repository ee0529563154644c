"""Files that Pillow writes, of which it is known by hand whether all decoders see the same in them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageCms
from PIL.PngImagePlugin import PngInfo

from manifests.export.plain import is_plain
from manifests.images.png import encode_png
from manifests.schema import Reject
from tests.manifests.make import photo


def _file(form: str, image: PILImage.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _turned(orientation: int) -> PILImage.Exif:
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    return exif


_RGB = PILImage.fromarray(photo(0))
_XMP = '<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def _with_xmp() -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    return info


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        pytest.param(True, _file("JPEG", _RGB), id="jpeg"),
        pytest.param(True, _file("JPEG", _RGB, progressive=True, comment="x"), id="progressive jpeg"),
        pytest.param(True, _file("JPEG", _RGB.convert("L")), id="grey jpeg"),
        pytest.param(True, _file("JPEG", _RGB, exif=_turned(1)), id="jpeg that exif calls upright"),
        pytest.param(False, _file("JPEG", _RGB, exif=_turned(6)), id="turned jpeg"),
        pytest.param(False, _file("JPEG", _RGB.convert("CMYK")), id="cmyk jpeg"),
        pytest.param(False, _file("JPEG", _RGB, icc_profile=_LAB), id="jpeg of other colours"),
        pytest.param(True, _file("PNG", _RGB), id="png"),
        pytest.param(True, encode_png(photo(0)), id="png of ours"),
        pytest.param(True, _file("PNG", _RGB.convert("L")), id="grey png"),
        pytest.param(False, _file("PNG", _RGB.convert("RGBA")), id="png with alpha"),
        pytest.param(False, _file("PNG", _RGB.convert("P")), id="png with a palette"),
        pytest.param(False, _file("PNG", _RGB, transparency=(0, 0, 0)), id="png with a transparent colour"),
        pytest.param(False, _file("PNG", PILImage.fromarray(photo(0)[..., 0].astype(np.uint16))), id="16-bit png"),
        pytest.param(False, _file("PNG", _RGB, exif=_turned(3)), id="turned png"),
        pytest.param(False, _file("PNG", _RGB, pnginfo=_with_xmp()), id="png that xmp turns"),
        pytest.param(True, _file("WEBP", _RGB), id="webp"),
        pytest.param(False, _file("WEBP", _RGB.convert("RGBA").rotate(5)), id="webp with alpha"),
        pytest.param(True, _file("BMP", _RGB), id="bmp"),
    ],
)
def test_what_is_plain(expected: bool, data: bytes) -> None:
    assert is_plain(data) is expected


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"\xff\xd8" + b"\xff\xdb\x00\x00" * 9, b"GIF"])
def test_what_is_no_image_is_rejected(data: bytes) -> None:
    with pytest.raises(Reject):
        is_plain(data)
