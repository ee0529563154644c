"""Small pictures for grids of pairs, each made once and kept in the user's cache, outside the datasets.

    $XDG_CACHE_HOME or ~/.cache, and there xprompt/thumbnails/<two digits>/<name>.webp

A name is a hash of what is in the file: the sha256 of the stored image, the side, and how it is made. So an image that
was made anew has another name, and the same image of two datasets has one. Before a picture is kept, its image must
have the sha256 that its manifest says: who writes a manifest cannot have a picture shown in another dataset.

A cache that cannot be read or written is no error: pictures are made again.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from manifests.images.pixels import fitted
from manifests.schema import canonical_json

SIDES = (160, 320, 640)
"""What the longer side of a thumbnail may be, px: in a strip of images, in a card, in a card on a dense screen."""

CONTENT_TYPE = "image/webp"

_VERSION = 1
"""To be raised when the same image would give another thumbnail."""

_QUALITY = 75  # libwebp's own default
_MAX_BYTES = 512 * 2**20
"""Of all pictures that are kept: those of some 40,000 images in a card's size, 13 KB each."""

_KEPT_SHARE = 0.9
"""What stays when the oldest are removed, so that it is not done for each new one."""


def make_thumbnail(data: bytes, side_px: int) -> bytes:
    """A WebP of an encoded image, upright and in sRGB, its longer side at most `side_px`.

    Raises Reject as `manifests.images.pixels.decode_rgb` does.
    """
    buffer = io.BytesIO()
    fitted(data, side_px).save(buffer, "WEBP", quality=_QUALITY)
    return buffer.getvalue()


def name_of(sha256: str, side_px: int) -> str:
    """What the thumbnail of the image with that sha256 is called in the cache."""
    return hashlib.sha256(canonical_json([_VERSION, sha256, side_px]).encode()).hexdigest()[:40]


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Where thumbnails are kept, by the XDG Base Directory Specification; None if this user has no home folder."""
    cache = Path(environment.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # which the specification says to ignore
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            return None
    return cache / "xprompt" / "thumbnails"


class Cache:
    """Files by name in a folder, of bounded size together. Threads and processes may share the folder.

    What was asked for longest ago is removed first. Files appear whole; one that a crash has cut off is not shown.
    """

    def __init__(self, folder: Path | None, max_bytes: int = _MAX_BYTES) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._bytes: int | None = None  # in the folder; counted when this process first writes
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """The bytes of a picture that is there, which is the newest from now on."""
        path = self._path(name)
        if path is None:
            return None
        try:
            data = path.read_bytes()
            if _is_whole(data):
                os.utime(path)
                return data
        except OSError:
            pass
        return None

    def put(self, name: str, data: bytes) -> None:
        """Keep a picture, if the folder can be written to."""
        path = self._path(name)
        if path is None:
            return
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # they show what may be private
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(data)
                    file.close()
                    os.replace(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
            with self._lock:
                self._bytes = self._count() if self._bytes is None else self._bytes + len(data)
                if self._bytes > self._max_bytes:
                    self._bytes = self._remove_oldest()

    def _path(self, name: str) -> Path | None:
        return self._folder / name[:2] / f"{name}.webp" if self._folder else None

    def _count(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _remove_oldest(self) -> int:
        """Make room; return how many bytes are left."""
        files = sorted(self._files())  # other processes write and remove, too: what is there is counted anew
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= self._max_bytes * _KEPT_SHARE:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            left -= size
        return left

    def _files(self) -> list[tuple[float, int, str]]:
        """Time, size and path of each file, half-written ones that a crash has left among them."""
        assert self._folder is not None
        found = []
        for folder in os.scandir(self._folder):
            if folder.is_dir(follow_symlinks=False):
                for file in os.scandir(folder.path):
                    with suppress(FileNotFoundError):
                        status = file.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, file.path))
        return found


def _is_whole(data: bytes) -> bool:
    """Whether a WebP has as many bytes as its header says (RFC 9649, section 2.4)."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and int.from_bytes(data[4:8], "little") + 8 == len(data)
