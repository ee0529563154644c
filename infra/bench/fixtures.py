"""Input folders for the benchmarks, made from the real photos bundled with scikit-image and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from infra.bench.plain import Pixels, add_rain, decode
from operators.read.bundled import PHOTOS, BundledPhotos

SIDE_PX = 512
_QUALITY = 95  # JPEG


def write_photos(folder: Path, count: int) -> None:
    """`count` JPEG photos of SIDE_PX square: crops at random places and scales, half of them mirrored."""
    folder.mkdir(parents=True)
    for number, photo in enumerate(_photos(count)):
        _write(folder / f"{number:05d}.jpg", photo)


def write_rain13k(folder: Path, count: int) -> None:
    """`count` JPEG pairs in Rain13K's layout: `target/` as `write_photos`, `input/` the same with rain."""
    (folder / "input").mkdir(parents=True)
    (folder / "target").mkdir()
    for number, photo in enumerate(_photos(count)):
        rainy, _ = add_rain(photo, number)
        _write(folder / "target" / f"{number:05d}.jpg", photo)
        _write(folder / "input" / f"{number:05d}.jpg", rainy)


def _photos(count: int) -> list[Pixels]:
    root = Path(BundledPhotos().root)
    originals = [pixels for path in PHOTOS if (pixels := decode((root / path).read_bytes())) is not None]
    random = np.random.default_rng(0)
    photos = []
    for number in range(count):
        original = originals[number % len(originals)]
        height_px, width_px, _ = original.shape
        side_px = int(random.uniform(0.5, 1.0) * min(height_px, width_px))
        y_px, x_px = (int(value) for value in random.integers(0, (height_px - side_px + 1, width_px - side_px + 1)))
        crop = original[y_px : y_px + side_px, x_px : x_px + side_px]
        resized = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        photos.append(np.ascontiguousarray(resized[:, ::-1] if number // len(originals) % 2 else resized))
    return photos


def _write(path: Path, pixels: Pixels) -> None:
    assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]), path
