"""Turns dense targets into colour images and reads them back: depth, surface normals, class labels.

The data engine colours targets, and evaluation reads predictions. A colour is read as the nearest one of the palette,
so a model's imperfect output can be read too. Black means "no value" everywhere: depth that was not measured, the class
"other", no normal.

    kind     colours                                           quantisation error, at most
    depth    1,275 steps along a path through the RGB cube     10 m / 1,275 / 2 = 4 mm
    normals  one byte an axis                                  0.4 degrees
    labels   one colour a class (ade20k.py)                    none

Depth that a network finds in a photo has no metres: it goes the same path by inverse depth, from an image's nearest to
its farthest.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from manifests.images.pixels import Pixels
from operators.shared.ade20k import CLASSES

Metres = npt.NDArray[np.float32]
"""H x W depth in metres; NaN where there is none."""

MAX_DEPTH_M = 10.0
"""The end of the range of depths, NYU-v2's own (https://github.com/cleinc/bts). A depth beyond it has no value."""

TRAINED_PALETTE, UNSEEN_PALETTE = "rainbow", "unseen"
"""The palette of depth that all training data is drawn in, and the one of section 4.4 that none is."""

# Corners of the RGB cube: 255 steps from each to the next, so that neighbouring depths have neighbouring colours, none
# occurs twice, and the two ends are far apart.
_PATHS = {
    # Near is red, far is violet: the rainbow that depth maps are usually shown in, along the cube's edges.
    TRAINED_PALETTE: ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255)),
    # Section 4.4 tests depth with a palette unseen in training: red to white and on to violet, across the cube's faces,
    # with nothing in common with the rainbow but the five corners where they cross.
    UNSEEN_PALETTE: ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (255, 255, 0), (255, 0, 255)),
}
DEPTH_PALETTES = tuple(_PATHS)


def encode_depth(depth_m: Metres, palette: str = TRAINED_PALETTE) -> Pixels:
    """H x W metres -> H x W x 3 colours. Not finite, not positive, or beyond MAX_DEPTH_M becomes black."""
    colours = _depth_colours(palette)
    steps = len(colours) - 1
    valid = np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= MAX_DEPTH_M)
    step = np.rint(np.where(valid, depth_m, 0) * (steps / MAX_DEPTH_M)).astype(np.int32)
    return np.where(valid[..., None], colours[step], np.uint8(0))


def encode_nearness(nearness: npt.NDArray[np.floating[Any]], palette: str = TRAINED_PALETTE) -> Pixels:
    """H x W inverse depth from 0, an image's farthest, to 1, its nearest -> H x W x 3 colours, the nearest's first."""
    colours = _depth_colours(palette)
    return colours[np.rint((1 - nearness.astype(np.float64)) * (len(colours) - 1)).astype(np.int32)]


def decode_depth(pixels: Pixels, palette: str = TRAINED_PALETTE) -> Metres:
    """H x W x 3 colours -> H x W metres by the nearest colour of the palette, NaN where black is nearest."""
    colours = _depth_colours(palette)
    step = _nearest(colours, pixels) - 1
    metres = step.astype(np.float32) * np.float32(MAX_DEPTH_M / (len(colours) - 1))
    return np.where(step < 0, np.float32(np.nan), metres)


def encode_normals(normals: npt.NDArray[np.float32]) -> Pixels:
    """H x W x 3 unit vectors in [-1, 1] -> bytes, x y z as red green blue; what is not finite becomes black."""
    valid = np.isfinite(normals).all(-1, keepdims=True)
    return np.where(valid, np.rint((np.where(valid, normals, 0) + 1) * 127.5), 0).astype(np.uint8)


def decode_normals(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Bytes -> unit vectors, NaN where black."""
    vectors = pixels.astype(np.float32) / np.float32(127.5) - 1
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    valid = pixels.any(-1, keepdims=True) & (length > 0)
    return np.where(valid, vectors / np.maximum(length, np.float32(1e-6)), np.float32(np.nan))


def encode_labels(labels: Pixels) -> Pixels:
    """H x W class ids 0..150 -> colours. Raises ValueError for an id that ADE20K does not have."""
    colours = _label_colours()
    if labels.max(initial=0) >= len(colours):
        raise ValueError(f"class id {labels.max()} is not one of ADE20K's 0..{len(colours) - 1}")
    return colours[labels]


def decode_labels(pixels: Pixels) -> Pixels:
    """Colours -> class ids by the nearest colour."""
    return _nearest(_label_colours()[1:], pixels).astype(np.uint8)


@lru_cache(maxsize=len(_PATHS))
def _depth_colours(palette: str) -> Pixels:
    """The colours of depths 0 .. MAX_DEPTH_M in equal steps: each colour on the path once, none of them black."""
    corners = np.array(_PATHS[palette], np.int32)
    points = [corners[:1]]
    for start, end in itertools.pairwise(corners):
        length = int(np.abs(end - start).max())
        points.append(start + (np.arange(1, length + 1)[:, None] * (end - start)) // length)
    return np.concatenate(points).astype(np.uint8)


@lru_cache(maxsize=1)
def _label_colours() -> Pixels:
    return np.array([(0, 0, 0), *(colour for _, *colour in CLASSES)], np.uint8)


def _nearest(colours: Pixels, pixels: Pixels) -> npt.NDArray[np.int64]:
    """H x W positions of the nearest colour, counted from 1; 0 for black."""
    flat, inverse = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    found = _tree(colours.tobytes()).query(flat)[1]
    return np.asarray(found[inverse].reshape(pixels.shape[:2]), np.int64)


@lru_cache(maxsize=8)
def _tree(colours: bytes) -> cKDTree:
    return cKDTree(np.vstack([np.zeros((1, 3), np.uint8), np.frombuffer(colours, np.uint8).reshape(-1, 3)]))
