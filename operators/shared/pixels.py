"""An image's pixels: reading them, measures of them, and of how those of two images differ.

Images are H x W x 3 uint8. They are computed in float64: published pipelines subtract unsigned bytes, where 0 - 1 is
255. A comparison needs one size: `same_size` resizes the larger to the smaller.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Reject

Values = npt.NDArray[np.float64]

_CHANGED = 0.1
"""Difference of a pixel's colour, of 1, from which it counts as changed. Ours: above JPEG's and a decoder's noise."""


def same_size(first: Pixels, second: Pixels) -> tuple[Pixels, Pixels]:
    """Bring two images to the size of the one with fewer pixels; the other is averaged over areas (cv2.INTER_AREA)."""
    if first.shape == second.shape:
        return first, second
    if first.shape[0] * first.shape[1] > second.shape[0] * second.shape[1]:
        return _resized(first, second), second
    return first, _resized(second, first)


def read_image(data: bytes) -> Pixels:
    """Upright 8-bit sRGB pixels of an image file (manifests/images/colour.py). Raises ValueError if it is none."""
    try:
        return decode_rgb(data)
    except Reject as reject:
        raise ValueError(reject.message) from None


def mean_abs_diff(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference of the channels of two images of one size, in [0, 1]."""
    return float(np.abs(_unit(first) - _unit(second)).mean())


def changed_area(first: Pixels, second: Pixels) -> float:
    """Share of the pixels, in [0, 1], of which some channel differs by more than a tenth of its range."""
    return float((np.abs(_unit(first) - _unit(second)).max(axis=2) > _CHANGED).mean())


def sharpness(image: Pixels) -> float:
    """Variance of the Laplacian of an image's luma, at the usual scale of 0 to 255: above 100 counts as sharp."""
    return float(cv2.Laplacian(255 * luma(image), cv2.CV_64F).var())


def luma(image: Pixels) -> Values:
    """The H x W luma of an image after ITU-R BT.601, in [0, 1]."""
    values: Values = _unit(image) @ np.array((0.299, 0.587, 0.114))
    return values


def _resized(image: Pixels, like: Pixels) -> Pixels:
    resized = cv2.resize(image, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def _unit(image: Pixels) -> Values:
    return image.astype(np.float64) / 255
