"""The chunks of a PNG file: which there are, whether they are whole, and a file without those that no pixel needs.

PNG specification, section 5: a signature, then chunks of length, name, data and checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LENGTH_BYTES = _NAME_BYTES = _CHECKSUM_BYTES = 4
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_WITH_EXIF = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keywords of texts in which decoders look for the orientation."""

_MAX_TEXT_BYTES = 2**20
"""Longest text that Pillow unpacks."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A chunk, by the offset of its length and that behind its checksum."""

    name: bytes
    start: int
    end: int

    def body(self, data: bytes) -> bytes:
        """What it holds, of the file that it is in."""
        return data[self.start + _LENGTH_BYTES + _NAME_BYTES : self.end - _CHECKSUM_BYTES]

    def is_whole(self, data: bytes) -> bool:
        """Whether it has its checksum, in the file that it is in."""
        checksum = self.end - _CHECKSUM_BYTES
        return zlib.crc32(memoryview(data)[self.start + _LENGTH_BYTES : checksum]) == int.from_bytes(
            data[checksum : self.end], "big"
        )


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a file up to its last one, or up to the one that is cut off; none if it is no PNG."""
    if not data.startswith(SIGNATURE):
        return
    start = len(SIGNATURE)
    while start + _LENGTH_BYTES + _NAME_BYTES <= len(data):
        name = start + _LENGTH_BYTES
        end = name + _NAME_BYTES + int.from_bytes(data[start:name], "big") + _CHECKSUM_BYTES
        if end > len(data):
            return
        chunk = Chunk(name=data[name : name + _NAME_BYTES], start=start, end=end)
        yield chunk
        if chunk.name == b"IEND":
            return
        start = end


def damaged(data: bytes) -> str | None:
    """The name of the first chunk whose checksum is wrong and without which there is no picture, None if there is none.

    Such chunks have names with a capital letter at the front. libpng refuses the file, Pillow does not.
    """
    broken = (chunk for chunk in chunks(data) if chunk.name[:1].isupper() and not chunk.is_whole(data))
    return next((chunk.name.decode("latin-1") for chunk in broken), None)


def bit_depth(data: bytes) -> int:
    """Bits of a value of a PNG, as its header has them; 0 if it has none."""
    head = next(chunks(data), None)
    return head.body(data)[8] if head and head.name == b"IHDR" and len(head.body(data)) > 8 else 0


def has_end(data: bytes) -> bool:
    """Whether the last chunk of a PNG is there; all pixels may be without it."""
    return any(chunk.name == b"IEND" for chunk in chunks(data))


def profile(data: bytes, most_bytes: int) -> bytes | None:
    """The ICC profile of the file, if there is one: empty if it is damaged, or larger than `most_bytes` unpacked."""
    body = _before_pixels(data, b"iCCP")
    if body is None:
        return None
    _, _, packed = body.partition(b"\0")
    return _unpacked(packed[1:], most_bytes) or b""


def numbers(data: bytes) -> tuple[int, int, int, bool] | None:
    """What cICP says of the colours: primaries, curve and matrix, by their numbers in ITU-T H.273, and whether values
    have their full range; None without it."""
    body = _before_pixels(data, b"cICP") or b""
    return (body[0], body[1], body[2], body[3] != 0) if len(body) == 4 else None


def without_extras(data: bytes) -> bytes:
    """The file without its colour profile, and without texts that hold no orientation or are too long to be unpacked.
    EXIF that lies behind the pixels, where decoders look for it late or never, comes to lie before them.

    So no decoder stumbles over them: Pillow refuses a PNG with more than a megabyte of compressed text, such as the
    workflow that ComfyUI writes into it. The same object if there is nothing to leave out.
    """
    there = [*chunks(data)]
    pixels = next((chunk.start for chunk in there if chunk.name == b"IDAT"), len(data))
    left_out = [chunk for chunk in there if chunk.name == b"iCCP" or _is_ballast(chunk, data)]
    late = [chunk for chunk in there if chunk.start > pixels and _has_exif(chunk, data) and chunk not in left_out]
    if not left_out and not late:
        return data
    view, kept, start = memoryview(data), [], 0
    cuts = [(chunk.start, chunk.end) for chunk in (*left_out, *late)]
    for begin, end in sorted([*cuts, *([(pixels, pixels)] if late else [])]):
        kept.append(view[start:begin])
        kept += [view[chunk.start : chunk.end] for chunk in late] if begin == end else []
        start = end
    return b"".join([*kept, view[start:]])


def _has_exif(chunk: Chunk, data: bytes) -> bool:
    """Whether a chunk may hold the orientation."""
    if chunk.name in _TEXTS:
        return chunk.body(data).partition(b"\0")[0] in _WITH_EXIF
    return chunk.name == b"eXIf"


def _before_pixels(data: bytes, name: bytes) -> bytes | None:
    """What the first chunk of a name holds; those that tell of colours come before the pixels."""
    ahead = takewhile(lambda chunk: chunk.name != b"IDAT", chunks(data))
    return next((chunk.body(data) for chunk in ahead if chunk.name == name), None)


def _is_ballast(chunk: Chunk, data: bytes) -> bool:
    if chunk.name not in _TEXTS:
        return False
    keyword, _, rest = chunk.body(data).partition(b"\0")
    if keyword not in _WITH_EXIF:
        return True
    if chunk.name == b"tEXt" or (chunk.name == b"iTXt" and rest[:1] == b"\0"):
        return len(rest) > _MAX_TEXT_BYTES
    packed = rest[1:] if chunk.name == b"zTXt" else rest[2:].split(b"\0", 2)[-1]
    return _unpacked(packed, _MAX_TEXT_BYTES) is None


def _unpacked(packed: bytes, most_bytes: int) -> bytes | None:
    """What zlib has packed; None if it is damaged, or larger than `most_bytes`."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(packed, most_bytes + 1)
    except zlib.error:
        return None
    return unpacked if unpacker.eof and len(unpacked) <= most_bytes else None
