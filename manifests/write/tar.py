"""Writes shards, and walks them as strictly as they are written, hashing all that passes.

tarfile is lenient: a tar that is cut at a member boundary, or has a damaged header in its middle, ends early without
an error; links, long names and sparse files are followed. Here each of these is damage.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member of a shard. `offset` is that of its data, in bytes from the start of the tar."""

    name: str
    offset: int
    bytes: int
    sha256: str


class Damaged(Exception):
    """The tar's framing is not what our writer writes. `offset` is where, in bytes; what follows is not looked into."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def header(name: str, size: int) -> bytes:
    """The one header of a member: it depends on nothing but name and size in bytes."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


class TarWriter:
    """Appends members to an open file, each with a header that depends on nothing but its name and size.

    `bytes`, `sha256` and `members` are those of all that was written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes = self.members = 0

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def append(self, name: str, data: bytes) -> int:
        """Append a member; the offset of its data, in bytes from the start of the tar."""
        self._write(header(name, len(data)))
        offset = self.bytes
        self._write(data)
        self._write(bytes(-len(data) % tarfile.BLOCKSIZE))
        self.members += 1
        return offset

    def finish(self) -> None:
        """End the archive as tar does: with two empty blocks, padded to whole records."""
        end = self.bytes + 2 * tarfile.BLOCKSIZE
        self._write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        self.bytes += len(data)
        self._file.write(data)


class Walk:
    """One pass over an open tar. After `members` is exhausted, `bytes` and `sha256` are those of the whole file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def members(self) -> Iterator[Member]:
        """The members in order. Memory: one chunk. Raises Damaged."""
        while (block := self._read(tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
            if len(block) < tarfile.BLOCKSIZE:
                raise Damaged("it is cut off", self.bytes)
            name, size = _parse(block, self.bytes - tarfile.BLOCKSIZE)
            offset, digest = self.bytes, hashlib.sha256()
            while rest := offset + size - self.bytes:
                chunk = self._read(min(rest, _CHUNK_BYTES))
                if not chunk:
                    raise Damaged(f"it is cut off inside member {name}", self.bytes)
                digest.update(chunk)
            if any(self._read(-size % tarfile.BLOCKSIZE)):
                raise Damaged(f"the padding of member {name} is not zero", offset + size)
            yield Member(name=name, offset=offset, bytes=size, sha256=digest.hexdigest())
        end = self.bytes
        while chunk := self._read(_CHUNK_BYTES):
            # More zeros than fill a record are none of tar's: on a disk terabytes of them take no room.
            if chunk.strip(b"\0") or self.bytes - end > tarfile.RECORDSIZE:
                raise Damaged("something follows the end of the archive", end)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._sha256.update(data)
        self.bytes += len(data)
        return data


def places(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size in bytes of each member of an open tar, by the headers alone. Raises Damaged."""
    at = 0
    while (block := file.read(tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
        if len(block) < tarfile.BLOCKSIZE:
            raise Damaged("it is cut off", at)
        name, size = _parse(block, at)
        yield name, at + tarfile.BLOCKSIZE, size
        at = file.seek(at + tarfile.BLOCKSIZE + size + -size % tarfile.BLOCKSIZE)


def _parse(block: bytes, offset: int) -> tuple[str, int]:
    """Name and size of a header that is byte for byte as we write it."""
    try:
        info = tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
        if header(info.name, info.size) == block:
            return info.name, info.size
    except (tarfile.HeaderError, ValueError):
        pass
    raise Damaged("a header is damaged, or not one that we write", offset)
