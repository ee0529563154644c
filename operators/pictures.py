"""Pictures that models have painted, kept by what they are made from: what has been painted is not painted again.

    <url>/3fa0...c1.png      a picture, under the sha256 of everything that its bytes depend on
    <url>/3fa0...c1.json     in the place of a picture: why the model refuses to give one

While `keeping` is open, operators keep each picture there as soon as it is painted, and take up those that are there.
A file appears whole or not at all and holds nothing that depends on when or where it was made, so a process that dies
loses only the pictures that it is painting. Outside of `keeping` nothing is kept.

A file also holds the sha256 of its key and of itself. One that is damaged, was edited or has another picture's name is
not used: the picture is painted again, which costs no more than time and gives the same. Files of older runs have no
sha256; of them the checksums alone are looked at.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from manifests.images.pixels import Pixels, decode_rgb, remembering
from manifests.images.png import encode_png
from manifests.images.png_chunks import chunks
from manifests.schema import Reject, canonical_json
from manifests.storage import Store
from operators.account import open_account

Order = TypeVar("Order")

KEPT_REASONS = frozenset({"unsafe"})
"""The reasons of rejects that are kept as a picture is. A safety checker sees the same pixels and says the same again,
at the price of painting them. Memory that runs out is not kept: another card, or this one on its own, may have enough.
"""

_NAME_BYTES = 4
"""Length of a chunk's name, and of its length before that: PNG specification, section 5.3."""

_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
"""The last chunk of every PNG, which is empty."""

_SUM = b"sha256\0"
"""How the text of a chunk "tEXt" begins that holds the sha256, in hex: PNG specification, section 11.3.4.3."""


class Pictures:
    """The pictures, H x W x 3 RGB, that are kept below one URL. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._store = Store(url)

    def get(self, key: str) -> Pixels | Reject | None:
        """The picture of a key, or the reject in its place; None if there is neither, or the file is damaged."""
        if (data := self._read(f"{key}.png")) is not None:
            return _decoded(key, data)
        if (data := self._read(f"{key}.json")) is not None:
            return _as_reject(key, data)
        return None

    def keep(self, key: str, picture: Pixels | Reject) -> Pixels | Reject:
        """Keep a picture, or a reject that is for good; what is kept under the key from now on is returned.

        If another process has kept one meanwhile, that one is returned and stays: on another GPU its last bits may
        differ, and all who come later are to see the same. Raises OSError if it cannot be written.
        """
        if isinstance(picture, Reject):
            if picture.reason not in KEPT_REASONS:
                return picture
            name, data = f"{key}.json", _as_json(key, picture)
        else:
            name, data = f"{key}.png", _signed(key, encode_png(picture))
        there = self.get(key)
        if there is not None:
            return there
        self._store.write_bytes(name, data)
        return picture

    def _read(self, name: str) -> bytes | None:
        try:
            return self._store.read(name)
        except FileNotFoundError:
            return None


_open: ContextVar[Pictures | None] = ContextVar("pictures", default=None)
"""The pictures of `keeping`; None where that is not open."""


@contextmanager
def keeping(url: str) -> Iterator[Pictures]:
    """Keep what is painted below a URL, and take up what is there, until the block ends.

    A new thread keeps nothing: it must open its own.
    """
    pictures = Pictures(url)
    token = _open.set(pictures)
    try:
        yield pictures
    finally:
        _open.reset(token)


def kept_or_painted(
    orders: Sequence[Order],
    described: Callable[[Order], Mapping[str, Any]],
    paint: Callable[[Sequence[Order]], Sequence[Pixels | Reject]],
    at_once: int,
    *,
    alike: Callable[[Order], Hashable] = lambda order: None,
) -> list[Pixels | Reject]:
    """One picture for each order, in order: those that are kept are read, the others painted.

    `described` says of an order, as JSON, all that the bytes of its picture depend on; equal orders are painted once.
    `paint` makes the pictures of some orders. While `keeping` is open it is given at most `at_once` of them, which are
    `alike`: one batch, which is kept before the next one is begun.

    How many were painted and how many were read is written into the open account (operators/account.py).
    """
    pictures = _open.get()
    if pictures is None:
        return _counted(paint(orders))
    keys = [key_of(described(order)) for order in orders]
    wanted = dict(zip(keys, orders, strict=True))
    found = {key: picture for key in wanted if (picture := pictures.get(key)) is not None}
    open_account().add_pictures(replayed=len(found))
    groups: dict[Hashable, list[str]] = {}
    for key, order in wanted.items():
        if key not in found:
            groups.setdefault(alike(order), []).append(key)
    for group in groups.values():
        for start in range(0, len(group), at_once):
            batch = group[start : start + at_once]
            made = _counted(paint([wanted[key] for key in batch]))
            found.update((key, pictures.keep(key, picture)) for key, picture in zip(batch, made, strict=True))
    return [found[key] for key in keys]


def key_of(description: Mapping[str, Any]) -> str:
    """The key under which a picture is kept: the sha256 of what its bytes depend on, 64 hex digits."""
    return hashlib.sha256(canonical_json(description).encode()).hexdigest()


def sha256_of(pixels: Pixels) -> str:
    """The sha256 of a picture, H x W x 3, by its size and pixels: however it was encoded, it is the same."""
    return hashlib.sha256(canonical_json(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _counted(made: Sequence[Pixels | Reject]) -> list[Pixels | Reject]:
    """What was painted, after it has been entered in the account: what ran out of memory was not."""
    painted = sum(not isinstance(one, Reject) or one.reason in KEPT_REASONS for one in made)
    open_account().add_pictures(painted=painted)
    return [*made]


def _signed(key: str, png: bytes) -> bytes:
    """A PNG with the sha256 of its key and of all that it is, in a chunk before its last one."""
    assert png.endswith(_END), "a PNG that goes on behind its end"
    before = png[: -len(_END)]
    return before + _sum_chunk(key, before) + _END


def _sum_chunk(key: str, before: bytes) -> bytes:
    text = b"tEXt" + _SUM + hashlib.sha256(key.encode() + before).hexdigest().encode()
    return (len(text) - _NAME_BYTES).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")


def _decoded(key: str, data: bytes) -> Pixels | None:
    """The pixels of a PNG, or None if it is damaged. Every checksum is looked at, and that nothing follows."""
    if not _is_whole(data) or not _is_own(key, data):
        return None
    try:
        with remembering():  # a memory of its own: what is kept here is no image of the unit that is being made
            return decode_rgb(data)
    except Reject:
        return None


def _is_own(key: str, data: bytes) -> bool:
    """Whether a whole PNG is as it was kept under its key, if it has a sha256."""
    start = data.rfind(b"tEXt" + _SUM) - _NAME_BYTES
    return start < 0 or data[start:] == _sum_chunk(key, data[:start]) + _END


def _is_whole(data: bytes) -> bool:
    """Whether a PNG is as it was written: every chunk has its checksum, and nothing follows the last one."""
    last = None
    for last in chunks(data):
        if not last.is_whole(data):
            return False
    return last is not None and last.name == b"IEND" and last.end == len(data)


def _as_json(key: str, reject: Reject) -> bytes:
    said = {"reason": reject.reason, "message": reject.message}
    return canonical_json({**said, "sha256": key_of({**said, "key": key})}).encode()


def _as_reject(key: str, data: bytes) -> Reject | None:
    """The reject that a file holds, or None if it is damaged."""
    try:
        record = json.loads(data)
        reject = Reject(record["reason"], record["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    old = canonical_json({"reason": reject.reason, "message": reject.message}).encode()
    return reject if reject.reason in KEPT_REASONS and data in (_as_json(key, reject), old) else None
