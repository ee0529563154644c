"""Where the files of each format say what their colours are. What that means: manifests/images/colour.py."""

from __future__ import annotations

import struct

from PIL import Image as PILImage
from PIL.ExifTags import IFD

from manifests.images.colour import Colours, adobe_rgb, from_gamma, from_icc, from_numbers, narrow
from manifests.images.png_chunks import numbers, profile

_MAX_PROFILE_BYTES = 16 * 2**20
"""Largest profile of a PNG that is unpacked: those of printers have some megabytes."""

_ADOBE_RGB = "R03"  # Exif's interoperability index of DCF's optional colour space
_BMP_V5_HEADER_BYTES = 124
_BMP_FILE_HEADER_BYTES = 14
_AVIF_HEAD_BYTES = 65_536


def declared_colours(image: PILImage.Image, data: bytes) -> Colours | None:
    """What an image, which is open and not yet loaded, declares of its colours; None if they are sRGB's."""
    if image.format == "PNG":
        return _of_png(image, data)
    icc = image.info.get("icc_profile") or (_of_bmp(data) if image.format == "BMP" else None)
    if icc:
        return from_icc(icc)
    if image.format == "AVIF" and (said := _of_avif(data)):
        return from_numbers(*said)
    return adobe_rgb() if _is_adobe_rgb(image) else None


def _of_png(image: PILImage.Image, data: bytes) -> Colours | None:
    if said := numbers(data):
        primaries, curve, _, full_range = said
        return from_numbers(primaries, curve) if full_range else narrow(primaries, curve)
    icc = profile(data, _MAX_PROFILE_BYTES)
    if icc is not None:
        return from_icc(icc)
    if "srgb" in image.info:
        return None
    gamma, chromaticities = image.info.get("gamma"), image.info.get("chromaticity")
    return from_gamma(gamma, chromaticities) if gamma or chromaticities else None


def _of_avif(data: bytes) -> tuple[int, int] | None:
    """Primaries and curve of a `colr` box, by their numbers in ITU-T H.273 (ISO/IEC 14496-12, section 12.1.5)."""
    place = data.find(b"colrnclx", 0, _AVIF_HEAD_BYTES)
    if place < 0 or place + 12 > len(data):
        return None
    primaries, curve = struct.unpack_from(">HH", data, place + 8)
    return primaries, curve


def _of_bmp(data: bytes) -> bytes | None:
    """The profile that a file of the fifth version has in it."""
    header = data[_BMP_FILE_HEADER_BYTES : _BMP_FILE_HEADER_BYTES + _BMP_V5_HEADER_BYTES]
    if len(header) < _BMP_V5_HEADER_BYTES or header[56:60] != b"DEBM":  # PROFILE_EMBEDDED, "MBED" as a number
        return None
    start, length = struct.unpack_from("<II", header, 112)
    return data[_BMP_FILE_HEADER_BYTES + start :][:length]


def _is_adobe_rgb(image: PILImage.Image) -> bool:
    exif = image.info.get("exif")
    if not isinstance(exif, bytes) or _ADOBE_RGB.encode() not in exif:  # without unpacking those of all photos
        return False
    try:
        index = PILImage.Image.getexif(image).get_ifd(IFD.Interop).get(1)
    except MemoryError:
        raise
    except Exception:  # Pillow raises what it comes upon in broken EXIF data, which says nothing
        return False
    return str(index).startswith(_ADOBE_RGB)
