"""Small source folders of real photos, in every state that a user's folder can be in."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image as PILImage
from PIL import ImageCms

from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Image, Pair

WIDTH_PX, HEIGHT_PX = 48, 40


def photo(index: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> Pixels:
    """The index-th crop of three photos: another one for each index."""
    whole = _photos()[index % 3]
    limit_px = whole.shape[1] - width_px, whole.shape[0] - height_px
    left_px, top_px = index * 17 % limit_px[0], index * 13 % limit_px[1]
    return np.ascontiguousarray(whole[top_px : top_px + height_px, left_px : left_px + width_px])


def encode(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """A file of the given format, by Pillow."""
    return encode_image(PILImage.fromarray(pixels), kind, **options)


def encode_image(image: PILImage.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(index: int) -> bytes:
    """The index-th photo as JPEG."""
    return encode(photo(index), "JPEG", quality=90)


def rainy_jpeg(index: int) -> bytes:
    """The index-th photo, veiled, as JPEG."""
    return encode(photo(index) // 2 + 96, "JPEG", quality=90)


def turned_jpeg(pixels: Pixels, orientation: int) -> bytes:
    """A JPEG whose EXIF orientation is to be followed to see the picture as meant."""
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    return encode(pixels, "JPEG", quality=90, exif=exif)


@lru_cache
def real_profile(name: str) -> bytes:
    """The ICC profile of a photo of scikit-image: astronaut.png has sRGB's, rocket.jpg Adobe RGB's."""
    with PILImage.open(Path(str(skimage.__file__)).parent / "data" / name) as image:
        profile: bytes = image.info["icc_profile"]
    return profile


def seen_by_lcms(image: PILImage.Image, profile: bytes) -> Pixels:
    """An image of a profile as sRGB, converted by LittleCMS: our own code takes no part."""
    opened, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, opened, srgb, outputMode="RGB"), np.uint8)


def bomb() -> bytes:
    """A PNG of a few hundred bytes whose header promises 900 million pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000))), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by their paths below a folder; return the folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_photos(folder: Path, count: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> Path:
    """A folder of clean photos."""
    return write_files(
        folder,
        {f"{index:04d}.jpg": encode(photo(index, width_px, height_px), "JPEG", quality=90) for index in range(count)},
    )


def write_rain13k(folder: Path, count: int) -> Path:
    """Pairs in Rain13K's layout."""
    files = {f"input/{index}.jpg": rainy_jpeg(index) for index in range(count)}
    return write_files(folder, files | {f"target/{index}.jpg": jpeg(index) for index in range(count)})


def pair_of(*images: Image, key: str = "0" * 32, group: str = "photo") -> Pair:
    """A pair with the given images and nothing else."""
    return Pair(key=key, source="test", source_ref=key, licence="CC0-1.0", images=images, group=group)


def lossless(role: str, pixels: Pixels) -> Image:
    return encode_lossless(role, pixels)


@lru_cache(maxsize=1)
def _photos() -> tuple[Pixels, Pixels, Pixels]:
    return skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut()
