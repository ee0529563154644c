"""Small pictures of images, for people to look at: lossy, scaled to fit, and never larger than some bytes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as PILImage

from manifests.images.pixels import fitted
from manifests.schema import Image

MOST_BYTES = 16_000
"""The largest file of a small picture, 16 KB: a million rejects, of two pictures each, take 32 GB at the most."""

SIDES_PX = (256, 128, 64)
"""Longer sides, of which the first is tried first. 256 px is about what a grid on a page shows."""

_QUALITIES = (80, 50, 20)
"""WebP's, tried for each side. Photos of 256 px have 4 to 15 KB at 80; noise takes more, and is stored worse."""

_METHOD = 4  # libwebp's own: 6 takes twice as long for 2% fewer bytes


def small(role: str, data: bytes) -> Image:
    """A WebP of at most `MOST_BYTES` of an encoded image, upright and in sRGB, under a role.

    The same image gives the same bytes, whatever was decoded before. Raises Reject as `fitted` does.
    """
    encoded, picture = b"", fitted(data, SIDES_PX[0])
    for side_px in SIDES_PX:
        picture.thumbnail((side_px, side_px), PILImage.Resampling.LANCZOS)
        for quality in _QUALITIES:
            encoded = _encoded(picture, quality)
            if len(encoded) <= MOST_BYTES:
                width, height = picture.size
                return Image(role=role, data=encoded, format="webp", width_px=width, height_px=height, mode="RGB")
    raise AssertionError(f"{SIDES_PX[-1]} px at quality {_QUALITIES[-1]} have {len(encoded):,} bytes")


def _encoded(picture: PILImage.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    plain = PILImage.fromarray(np.asarray(picture))  # without a profile, or what else a file's metadata may have
    plain.save(buffer, "WEBP", quality=quality, method=_METHOD, lossless=False)
    return buffer.getvalue()
