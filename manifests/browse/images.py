"""An image of a pair as a browser can show it, within a budget of memory for all that are shown at the same time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image as PILImage

from manifests.browse.budget import Budget
from manifests.dataset import Dataset, DatasetError
from manifests.images.pixels import decode_rgb, read_header
from manifests.read.query import read_image

# What every browser shows as it is; the rest is converted.
_SHOWN_FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_SHOWN_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}

_BYTES_A_PIXEL = 24
"""What it takes to convert a pixel: 12 of 16-bit gray, 14 of CMYK, 16 of RGBA were measured, and some are left over."""

_BUDGET = Budget(2**30)
"""For the images that are read, converted and sent at the same time; a larger one is alone."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an image is, and what its manifest says of it: a struct of the column `images`."""

    dataset: Dataset
    shard: str
    image: Mapping[str, Any]

    @contextmanager
    def shown(self) -> Iterator[tuple[str, bytes]]:
        """Content type and bytes of the image as a browser can show it, which are in the budget until they are sent.

        Raises DatasetError if it cannot be read, Reject if it cannot be decoded.
        """
        image = self.image
        pixels, size = image["width_px"] * image["height_px"], _count(image["bytes"])
        if image["format"] in _SHOWN_FORMATS and image["mode"] in _SHOWN_MODES:
            with _BUDGET.taking(size):
                yield _SHOWN_FORMATS[image["format"]], read_image(self.dataset, self.shard, image)
            return
        with _BUDGET.taking(size + _count(pixels) * _BYTES_A_PIXEL):
            data = read_image(self.dataset, self.shard, image)
            header = read_header(data)
            if header.width_px * header.height_px != pixels:
                raise DatasetError(f"{self.dataset.url}/shards/{self.shard} has an image of another size than is said")
            buffer = io.BytesIO()
            PILImage.fromarray(decode_rgb(data)).save(buffer, "PNG", compress_level=1)
            yield "image/png", buffer.getvalue()


def _count(number: int | str) -> int:
    """A number of a manifest, or 0 if it is none that can be: negative, or too large for JSON, and then digits."""
    return max(0, number) if isinstance(number, int) else 0
