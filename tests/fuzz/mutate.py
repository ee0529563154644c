"""Changes to valid files: bits, bytes, lengths, cuts and splices, and checksums that fit the change."""

from __future__ import annotations

import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from random import Random

from manifests.images.png_chunks import SIGNATURE

Change = Callable[[Random, bytearray, Sequence[bytes]], None]
"""Changes bytes in place; what is spliced in comes from other valid files."""

MOST_BYTES = 2**20
"""An input does not grow beyond it: what costs a reader more than its own size has to be shown by a small file."""

_ODD_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
_ODD_DIGITS = (b"0", b"-1", b"7" * 11, b"\x80" + b"\xff" * 7, b"1e999", b"9" * 30, b" ", b"0x10", b"\xd9\xa3")
_ODD_VALUES = (
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"0.5", b"9" * 5_000, b"18446744073709551616", b"1979-05-27"),
    *(b'""', b'"\\ud800"', b'"\\u0000"', b'"a\\nb"', b'"../../x"', b"'''", b"[]", b"{}", b"[[]]", b'{"a":{}}'),
    *(b"[" * 3_000, b'{"a":' * 3_000, b"\xff\xfe", b"inf"),
)
_VALUE = re.compile(rb'"[^"\n]{0,200}"|[0-9]+|true|false|null')
_NUMBER = re.compile(rb"[0-9]{2,12}")


def mutated(random: Random, seed: bytes, others: Sequence[bytes], text: bool = False) -> bytes:
    """A valid file with one to four changes; of a text, of values rather than of bytes."""
    data = bytearray(seed)
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        change = _value if text and random.random() < 0.7 else random.choice(_CHANGES)
        change(random, data, others)
    return bytes(data[:MOST_BYTES])


def fit_png(data: bytes) -> bytes:
    """The same with checksums that are right, so that readers look further. Not a PNG: as it is."""
    if not data.startswith(SIGNATURE):
        return data
    fitted, start = bytearray(data), len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            break
        fitted[end : end + 4] = struct.pack(">I", zlib.crc32(data[start + 4 : end]))
        start = end + 4
    return bytes(fitted)


def fit_tar(data: bytes) -> bytes:
    """The same with a right checksum in whatever may be a header."""
    fitted = bytearray(data)
    for start in range(0, len(data) - tarfile.BLOCKSIZE + 1, tarfile.BLOCKSIZE):
        block = fitted[start : start + tarfile.BLOCKSIZE]
        if block[257:262] == b"ustar":
            total = sum(block[:148]) + sum(block[156:]) + 8 * 32
            fitted[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(fitted)


def _place(random: Random, data: bytearray) -> int:
    """Where a change is: often near an end, where headers, footers and directories are."""
    if not data:
        return 0
    near = min(len(data), random.choice((64, 512, 4_096)))
    where = random.random()
    return (
        random.randrange(near) if where < 0.4 else len(data) - 1 - random.randrange(near if where < 0.7 else len(data))
    )


def _bit(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    if data:
        data[_place(random, data)] ^= 1 << random.randrange(8)


def _byte(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    if data:
        data[_place(random, data)] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))


def _length(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A number in one of the ways that formats write lengths."""
    start, size = _place(random, data), random.choice((1, 2, 4, 8))
    number = random.choice((*_ODD_NUMBERS, len(data), len(data) - start, random.randrange(1 << 16)))
    part = (number % (1 << 8 * size)).to_bytes(size, random.choice(("big", "little")))
    data[start : start + size] = part[: max(0, len(data) - start)]


def _varint(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A number as Thrift writes it, in the place of a byte or beside it."""
    number, part = random.choice(_ODD_NUMBERS), bytearray()
    while number > 127:
        part.append(number & 127 | 128)
        number >>= 7
    start = _place(random, data)
    data[start : start + random.choice((0, 1, 2, len(part) + 1))] = part + bytes([number])


def _digits(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """A number in digits, as tar and PPM have them, kept to its length."""
    found = list(_NUMBER.finditer(bytes(data[: 2**16])))
    if found:
        start, end = random.choice(found).span()
        odd = random.choice((*_ODD_DIGITS, b"%o" % random.choice(_ODD_NUMBERS)))
        data[start:end] = odd[: end - start].rjust(end - start, b"0")


def _cut(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    del data[_place(random, data) :]


def _remove(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start = _place(random, data)
    del data[start : start + random.choice((1, 2, 4, 16, 512))]


def _repeat(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, size = _place(random, data), random.choice((1, 4, 12, 64, 512))
    data[start:start] = data[start : start + size] * random.choice((1, 2, 100))


def _zero(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    start, size = _place(random, data), random.choice((4, 16, 512))
    data[start : start + size] = bytes(len(data[start : start + size]))


def _splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """What another file has, from there on or in the middle."""
    other = random.choice(others)
    start, there = _place(random, data), random.randrange(len(other) + 1)
    end = random.choice((len(data), start, start + 64))
    data[start:end] = other[there : there + random.choice((32, 512, len(other)))]


def _value(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    found = list(_VALUE.finditer(bytes(data)))
    if found:
        start, end = random.choice(found).span()
        data[start:end] = random.choice(_ODD_VALUES)


_CHANGES: tuple[Change, ...] = (
    *(_bit, _bit, _byte, _byte, _length, _length, _varint, _digits),
    *(_cut, _remove, _repeat, _zero, _splice),
)
