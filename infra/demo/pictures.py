"""What the demo's tokenizer and model are trained on and measured on: crops of free photos, and generated pictures.

Training uses photos in the public domain only, by their stated licences; the photos that are measured on are others, so
that no piece of them was ever seen. Two of those are CC-BY-2.0: they are looked at, and nothing is learned from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from manifests.images.pixels import Pixels, decode_rgb
from operators.read.bundled import packages_root

_OWN = Path(__file__).parent / "photos"
_CC0 = "CC0-1.0"
_PUBLIC_DOMAIN = "public domain"

TRAINED: Mapping[str, str] = {
    # As stated in the docstrings of skimage.data
    "skimage/data/astronaut.png": _PUBLIC_DOMAIN,
    "skimage/data/brick.png": _CC0,
    "skimage/data/camera.png": _CC0,
    "skimage/data/chelsea.png": _CC0,
    "skimage/data/clock_motion.png": _PUBLIC_DOMAIN,
    "skimage/data/coffee.png": _CC0,
    "skimage/data/grass.png": _CC0,
    "skimage/data/gravel.png": _CC0,
    "skimage/data/hubble_deep_field.jpg": _PUBLIC_DOMAIN,
    "skimage/data/retina.jpg": _CC0,
    # scipy.misc.face of SciPy up to 1.9, from public-domain-image.com, at half its size
    "raccoon.jpg": _PUBLIC_DOMAIN,
}
"""Photo -> licence: what is trained from."""

HELD_OUT: Mapping[str, str] = {
    "skimage/data/rocket.jpg": _PUBLIC_DOMAIN,
    # As stated in sklearn/datasets/images/README.txt
    "sklearn/datasets/images/china.jpg": "CC-BY-2.0",
    "sklearn/datasets/images/flower.jpg": "CC-BY-2.0",
}
"""Photo -> licence: what is only measured on."""


@cache
def photo(name: str) -> Pixels:
    """A photo of TRAINED or HELD_OUT, [h, w, 3] RGB."""
    own = _OWN / name
    return decode_rgb((own if own.is_file() else Path(packages_root()) / name).read_bytes())


def crop(name: str, side_px: int, random: np.random.Generator) -> Pixels:
    """A square of a photo, between twice `side_px` and the photo's whole shorter side, at `side_px`."""
    pixels = photo(name)
    shorter = min(pixels.shape[:2])
    length = int(np.exp(random.uniform(np.log(min(1.5 * side_px, shorter)), np.log(shorter))))
    y, x = (int(random.integers(0, size - length + 1)) for size in pixels.shape[:2])
    cut = pixels[y : y + length, x : x + length]
    return np.asarray(cv2.resize(cut, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def drawn(side_px: int, random: np.random.Generator) -> Pixels:
    """A generated picture: a gradient or a texture, and on it up to six shapes of one colour or a gradient each."""
    large = 2 * side_px
    picture = _field(large, random)
    for _ in range(int(random.integers(0, 7))):
        mask = np.zeros((large, large), np.uint8)
        centre = random.integers(0, large, 2)
        if random.random() < 0.5:
            axes = random.integers(large // 16, large // 2, 2)
            angle = float(random.uniform(0, 180))
            cv2.ellipse(mask, (int(centre[0]), int(centre[1])), (int(axes[0]), int(axes[1])), angle, 0, 360, 255, -1)
        else:
            corners = centre + random.integers(-large // 2, large // 2, (int(random.integers(3, 6)), 2))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255)
        picture = np.where(mask[..., None] > 0, _field(large, random), picture)
    small = cv2.resize(picture.astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(np.rint(small), 0, 255), np.uint8)


def _field(side_px: int, random: np.random.Generator) -> np.ndarray:
    """A flat colour, a gradient between four corners, waves, or smooth noise, float [side, side, 3] in 0 to 255."""
    kind = random.integers(4)
    first, second = random.uniform(0, 255, (2, 1, 1, 3))
    if kind == 0:
        return np.broadcast_to(first, (side_px, side_px, 3))
    if kind == 1:
        corners = random.uniform(0, 255, (2, 2, 3)).astype(np.float32)
        return np.asarray(cv2.resize(corners, (side_px, side_px), interpolation=cv2.INTER_LINEAR))
    if kind == 2:
        angle, waves = random.uniform(0, np.pi), random.uniform(1, 10)
        y, x = np.mgrid[:side_px, :side_px] / side_px
        share = (1 + np.sin(2 * np.pi * waves * (np.cos(angle) * x + np.sin(angle) * y))) / 2
    else:
        cells = int(random.integers(3, 24))
        grid = random.uniform(0, 1, (cells, cells)).astype(np.float32)
        share = cv2.resize(grid, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.asarray(first + (second - first) * share[..., None])


def varied(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """The picture flipped or turned, in other colours, and in a part of the draws dark, noisy, rainy or grey."""
    pixels = np.rot90(pixels, int(random.integers(4))) if random.random() < 0.3 else pixels
    pixels = pixels[:, ::-1] if random.random() < 0.5 else pixels
    picture = pixels.astype(np.float32) / 255
    if random.random() < 0.7:
        grey = picture.mean(2, keepdims=True)
        picture = grey + (picture - grey) * random.uniform(0.3, 1.7)
        picture = np.clip(picture, 0, 1) ** random.uniform(0.6, 1.6) * random.uniform(0.75, 1.2, 3)
        if random.random() < 0.3:
            picture = picture[..., random.permutation(3)]
    damage = random.random()
    if damage < 0.12:
        picture = picture * random.uniform(0.1, 0.5)
    elif damage < 0.2:
        picture = picture + random.normal(0, random.uniform(0.04, 0.2), picture.shape)
    elif damage < 0.28:
        picture = picture + random.uniform(0.3, 0.8) * _streaks(picture.shape[0], random)[..., None]
    elif damage < 0.34:
        picture = np.repeat(picture.mean(2, keepdims=True), 3, 2)
    return np.asarray(np.clip(np.rint(picture * 255), 0, 255), np.uint8)


def _streaks(side_px: int, random: np.random.Generator) -> np.ndarray:
    """Slanted bright streaks, [side, side] in 0 to 1."""
    lines = np.zeros((2 * side_px, 2 * side_px), np.uint8)
    slant = random.uniform(-0.5, 0.5)
    for x, y in random.integers(0, 2 * side_px, (int(random.integers(20, 80)), 2)):
        length = random.uniform(0.05, 0.3) * side_px * 2
        cv2.line(lines, (int(x), int(y)), (int(x + slant * length), int(y + length)), int(random.integers(100, 255)), 1)
    return np.asarray(cv2.resize(lines, (side_px, side_px), interpolation=cv2.INTER_AREA), np.float32) / 255
