"""An image of a pair as a browser can show it, within a budget of memory for all that are shown at the same time."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image as PILImage

from manifests.browse.budget import Budget
from manifests.browse.thumbnails import CONTENT_TYPE, Cache, make_thumbnail, name_of
from manifests.dataset import Dataset, DatasetError
from manifests.images.pixels import decode_rgb, read_header
from manifests.read.query import read_image
from manifests.read.shards import verify_hint

# What every browser shows as it is; the rest is converted.
_SHOWN_FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_SHOWN_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}

_TAG_DIGITS = 40
_CONVERSION = 1  # to be raised when the same image would be converted to other bytes

_BYTES_A_PIXEL = 24
"""What it takes to convert a pixel: 12 of 16-bit gray, 14 of CMYK, 16 of RGBA were measured, and some are left over."""

_BUDGET = Budget(2**30)
"""For the images that are read, converted and sent at the same time; a larger one is alone."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image, or a thumbnail of one, as it is sent."""

    content_type: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an image is, and what its manifest says of it: a struct of the column `images`."""

    dataset: Dataset
    shard: str
    image: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Of the stored bytes, in hexadecimal digits, by the manifest; "" if that says none."""
        said = str(self.image["sha256"])
        return said if re.fullmatch("[0-9a-f]{64}", said) else ""

    @property
    def tag(self) -> str:
        """What names the bytes that `shown` gives: the stored ones, or the conversion of them; "" if nothing does."""
        return self.sha256 and self.sha256[:_TAG_DIGITS] + ("" if self._is_shown_as_it_is else f"-png{_CONVERSION}")

    def thumbnail_tag(self, side_px: int) -> str:
        """What names the bytes that `thumbnail` gives; "" if nothing does."""
        return self.sha256 and name_of(self.sha256, side_px)

    @contextmanager
    def shown(self) -> Iterator[Shown]:
        """The image as a browser can show it, whose bytes are in the budget until they are sent.

        Raises DatasetError if it cannot be read or has not the sha256 of the manifest, Reject if it cannot be decoded.
        """
        if self._is_shown_as_it_is:
            with _BUDGET.taking(_count(self.image["bytes"])):
                yield Shown(content_type=_SHOWN_FORMATS[self.image["format"]], body=self._stored())
            return
        with self._decodable() as data:
            buffer = io.BytesIO()
            PILImage.fromarray(decode_rgb(data)).save(buffer, "PNG", compress_level=1)
            yield Shown(content_type="image/png", body=buffer.getvalue())

    def thumbnail(self, side_px: int, cache: Cache) -> Shown:
        """A small picture of it, from the cache or made and put there. Raises as `shown` does."""
        tag = self.thumbnail_tag(side_px)
        if tag and (kept := cache.get(tag)):
            return Shown(content_type=CONTENT_TYPE, body=kept)
        with self._decodable() as data:
            made = Shown(content_type=CONTENT_TYPE, body=make_thumbnail(data, side_px))
        cache.put(tag, made.body)
        return made

    @property
    def _is_shown_as_it_is(self) -> bool:
        return self.image["format"] in _SHOWN_FORMATS and self.image["mode"] in _SHOWN_MODES

    @contextmanager
    def _decodable(self) -> Iterator[bytes]:
        """The stored bytes, with room in the budget to decode them, which are of the size that the manifest says."""
        image = self.image
        pixels = image["width_px"] * image["height_px"]
        with _BUDGET.taking(_count(image["bytes"]) + _count(pixels) * _BYTES_A_PIXEL):
            data = self._stored()
            header = read_header(data)
            if header.width_px * header.height_px != pixels:
                raise DatasetError(f"{self.dataset.url}/shards/{self.shard} has an image of another size than is said")
            yield data

    def _stored(self) -> bytes:
        """The stored bytes. Raises DatasetError if they cannot be read, or are not those that the manifest names."""
        data = read_image(self.dataset, self.shard, self.image)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DatasetError(
                f"{self.dataset.url}/shards/{self.shard} has not the image that is named: "
                f"{verify_hint(self.dataset.url)}"
            )
        return data


def _count(number: int | str) -> int:
    """A number of a manifest, or 0 if it is none that can be: negative, or too large for JSON, and then digits."""
    return max(0, number) if isinstance(number, int) else 0
