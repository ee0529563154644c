"""Tells camera RAW, and other TIFF files whose first image is not the picture, from images that can be read.

A RAW file mostly is a TIFF, the first image of which is a small one to show: decoders of images take that for the
picture. Its own is the sensor's values, which only a program that knows the camera develops.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Tags of TIFF 6.0, TIFF/EP and DNG 1.7.
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT = 254, 255, 256, 257
_BITS, _PHOTOMETRIC, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION = 258, 262, 330, 339, 50706
_SENSOR = (32803, 34892)  # photometric interpretations: colour filter array, linear raw
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}

_SIGNATURES = {
    b"FUJIFILMCCD-RAW": "RAF",
    b"FOVb": "X3F",
    b"\0MRM": "MRW",
    b"IIRO": "ORF",
    b"IIRS": "ORF",
    b"MMOR": "ORF",
    b"IIU\0": "RW2",
    b"II\x1a\0\0\0HEAPCCDR": "CRW",
}
"""How RAW files begin that are no TIFF, or hardly one."""

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # as Pillow has them
_BIG_TIFF = 43
_MOST_DIRECTORIES = 64


def raw_kind(data: bytes) -> str | None:
    """Which kind of RAW a file is, None if it is none."""
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[4:12] == b"ftypcrx ":
        return "CR3"
    if not data.startswith(_TIFF_SIGNATURES):
        return None
    if data[8:10] == b"CR":
        return "CR2"
    directories = list(_directories(data))
    if any(_DNG_VERSION in directory for directory in directories):
        return "DNG"
    if any(_number(directory, _PHOTOMETRIC) in _SENSOR for directory in directories):
        return "TIFF with values of a sensor"
    if directories and _is_thumbnail(directories[0], directories[1:]):
        return "TIFF that begins with a thumbnail"
    return None


def tiff_values(data: bytes) -> str | None:
    """What the values of a TIFF's first image are, in words ("3 x 32-bit floating-point"); None if it is no TIFF."""
    if not data.startswith(_TIFF_SIGNATURES):
        return None
    directory: Any = next(_directories(data), {})
    bits = directory.get(_BITS, (1,))
    bits = bits if isinstance(bits, tuple) else (bits,)
    kind = _FORMATS.get(_number(directory, _SAMPLE_FORMAT) or 1, "unknown")
    return f"{len(bits)} x {bits[0]}-bit {kind}"


def _is_thumbnail(first: Any, others: list[Any]) -> bool:
    """Whether a file says so of its first image, or has a larger one below it."""
    if (_number(first, _SUBFILE) or 0) & 1 or _number(first, _OLD_SUBFILE) == 2:
        return bool(others)
    below = first.get(_SUB_IFDS)
    return below is not None and any(_area(other) > _area(first) for other in others)


def _area(directory: Any) -> int:
    return (_number(directory, _WIDTH) or 0) * (_number(directory, _HEIGHT) or 0)


def _number(directory: Any, tag: int) -> int | None:
    value = directory.get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def _directories(data: bytes) -> Iterator[Any]:
    """The directories of a TIFF file, each before those below it, up to where they cannot be read."""
    file = io.BytesIO(data)
    head = data[:16] if _BIG_TIFF in data[2:4] else data[:8]
    seen: set[int] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is damaged is found when the image is decoded
        try:
            offsets = [ImageFileDirectory_v2(head).next]
            while offsets and len(seen) < _MOST_DIRECTORIES:
                offset = offsets.pop(0)
                if not offset or offset in seen:
                    continue
                seen.add(offset)
                directory = ImageFileDirectory_v2(head)
                file.seek(offset)
                directory.load(file)
                below = directory.get(_SUB_IFDS, ())
                offsets = [*(below if isinstance(below, tuple) else (below,)), directory.next, *offsets]
                yield directory
        except (OSError, SyntaxError, ValueError, TypeError, struct.error):
            return
