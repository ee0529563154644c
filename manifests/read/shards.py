"""Reads members of shards by the places that manifests name: one positioned read each."""

from __future__ import annotations

import os
import re
import shlex
from functools import lru_cache, partial

from manifests.images.pixels import MAX_BYTES
from manifests.schema import DatasetError
from manifests.storage import Store

_SHARD = re.compile(r"[\w-]+\.tar")
_OPEN_SHARDS = 32  # file handles that stay open; opening one costs as much as reading a small image


class Shards:
    """The shards of one dataset directory. Threads may share it, and it may be pickled and forked."""

    def __init__(self, url: str, store: Store) -> None:
        self._url, self._store = url, store
        self._opened = lru_cache(_OPEN_SHARDS)(partial(_Opened, store))

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """The `length` bytes at `offset` of a shard, named without its folder: one range request on an object store.

        Raises DatasetError if the shard is missing or cut off, or if the place is impossible: others may have written
        the manifest.
        """
        if not _SHARD.fullmatch(shard) or offset < 0 or not 0 < length <= MAX_BYTES:
            raise DatasetError(f"{self._url}: a manifest names an impossible place, {shard!r} at {offset}")
        try:
            if self._store.is_local:
                opened = self._opened(shard)  # held while it is read, since who holds it last closes it
                data = os.pread(opened.descriptor, length, offset)
            else:
                data = self._store.read(f"shards/{shard}", offset, length)
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise DatasetError(f"{self._url}/shards/{shard} cannot be read: {error}") from error
        if len(data) != length:
            raise DatasetError(f"{self._url}/shards/{shard} is missing or cut off: {verify_hint(self._url)}")
        return data

    def __reduce__(self) -> tuple[type[Shards], tuple[str, Store]]:
        return Shards, (self._url, self._store)


class _Opened:
    """An open file. It is closed when nobody uses it any more, not when it is forgotten: a thread may be reading."""

    descriptor = -1

    def __init__(self, store: Store, shard: str) -> None:
        self.descriptor = store.descriptor(f"shards/{shard}")

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def verify_hint(url: str) -> str:
    """How to learn what is wrong with a dataset, as the end of an error's line."""
    return f"`xprompt verify {shlex.quote(url)}` lists what is damaged"
