"""Whether every decoder sees the same in an image file, told from its markers where that is enough.

`read_header` tells it of any file, but opens it with Pillow, which takes longer than to copy it.
"""

from __future__ import annotations

from manifests.images.pixels import read_header
from manifests.images.png_chunks import bit_depth, chunks

_SILENT_CHUNKS = frozenset([b"IHDR", b"IDAT", b"IEND", b"pHYs", b"tIME", b"sRGB", b"fdEC"])
"""Those that say nothing of orientation or other colours than sRGB's. fdEC is fpng's own, and empty of pixels."""

_GRAY, _RGB = 0, 2  # colour types of PNG
_START_OF_FRAME = frozenset([0xC0, 0xC1, 0xC2])
_TABLES = frozenset([0xDB, 0xC4, 0xDD, 0xFE, 0xE0])
"""Markers of JPEG that say nothing of how pixels are meant: tables, restarts, comments, and APP0, which is JFIF's."""


def is_plain(data: bytes) -> bool:
    """Whether a file is upright, opaque sRGB or grey of 8 bits, as `Header.plain` says it.

    Raises Reject for what is no image.
    """
    return _is_plain_jpeg(data) or _is_plain_png(data) or read_header(data).plain


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether markers up to the frame's are enough to say so. False: they say that it is not, or nothing."""
    if data[:2] != b"\xff\xd8":
        return False
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _START_OF_FRAME:
            return data[place + 4] == 8 and data[place + 9] in (1, 3)
        if marker not in _TABLES:
            return False
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def _is_plain_png(data: bytes) -> bool:
    if bit_depth(data) != 8 or data[25] not in (_GRAY, _RGB):
        return False
    return all(chunk.name in _SILENT_CHUNKS for chunk in chunks(data))
