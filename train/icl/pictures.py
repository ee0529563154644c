"""Small pictures out of real photos, those of training and those of the examination from different photos.

A picture is side x side pixels of three levels a channel, 27 colours, and each pixel is one token. Such a palette, and
not a VQ tokenizer, since an answer is then exact: tasks are functions of tokens, the right answer is a picture that the
model can write, and a wrong token is wrong by a known amount. The palette has every mixture of the channels' levels, so
that channels swapped or negated are colours of it as well.
"""

from __future__ import annotations

import functools
from importlib.resources import as_file, files
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Levels = NDArray[np.int64]
"""A picture, [side, side, 3], or n of them, [n, side, side, 3]: levels of red, green and blue, 0 to LEVELS - 1."""

LEVELS = 3
COLOURS = LEVELS**3

Split = Literal["train", "test"]
PHOTOS: dict[Split, tuple[tuple[str, str], ...]] = {
    "train": (
        ("skimage.data", "chelsea.png"),
        ("skimage.data", "rocket.jpg"),
        ("skimage.data", "coffee.png"),
        ("sklearn.datasets.images", "flower.jpg"),
    ),
    "test": (("skimage.data", "astronaut.png"), ("sklearn.datasets.images", "china.jpg")),
}
"""The coloured ones among the photos that come with scikit-image and scikit-learn."""

_CROPS = {"train": 3_072, "test": 512}
_SEEDS = {"train": 0, "test": 1}
_LEAST_SHARE = 0.15
"""Of a photo's shorter side, that a crop has at least."""
_LEAST_COLOURS = 5
"""Of a crop: a plain sky tells nothing of a task, and its answer goes on as it begins, without a look at the task."""


@functools.cache
def crops(split: Split, side: int) -> Levels:
    """All pictures of a split, [n, side, side, 3], the same each time: crops at places and of sizes drawn by a seed."""
    random = np.random.default_rng(_SEEDS[split])
    photos = [_sums(*place) for place in PHOTOS[split]]
    found: list[Levels] = []
    while len(found) < _CROPS[split]:
        sums = photos[random.integers(len(photos))]
        height, width = (length - 1 for length in sums.shape[:2])
        most = min(height, width) // side  # photo pixels along a picture's pixel
        cell = int(random.integers(max(1, int(_LEAST_SHARE * most)), most + 1))
        top, left = (int(random.integers(length - side * cell + 1)) for length in (height, width))
        corners = sums[top : top + side * cell + 1 : cell, left : left + side * cell + 1 : cell]
        mean = np.diff(np.diff(corners, axis=0), axis=1) / cell**2
        levels = np.rint(mean * ((LEVELS - 1) / 255)).astype(np.int64)
        if len({*to_codes(levels).ravel().tolist()}) >= _LEAST_COLOURS:
            found.append(levels)
    return np.stack(found)


def to_codes(pictures: Levels) -> NDArray[np.int64]:
    """The tokens' codes, [..., side, side], 0 to COLOURS - 1."""
    codes: NDArray[np.int64] = pictures @ np.array([LEVELS**2, LEVELS, 1])
    return codes


def to_levels(codes: NDArray[np.int64]) -> Levels:
    """The pictures of codes, [..., side, side]."""
    return np.stack([codes // LEVELS**2, codes // LEVELS % LEVELS, codes % LEVELS], -1)


def to_rgb(pictures: Levels) -> NDArray[np.uint8]:
    """Pixels, 0 to 255."""
    return (pictures * 255 // (LEVELS - 1)).astype(np.uint8)


def _sums(package: str, name: str) -> NDArray[np.int64]:
    """Sums of a photo's pixels above and left of each corner, of which the mean of any rectangle is made."""
    with as_file(files(package) / name) as path, Image.open(path) as photo:
        pixels = np.asarray(photo.convert("RGB"), np.int64)
    return np.pad(pixels, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
