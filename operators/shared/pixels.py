"""Measures of pixels, in float64: published pipelines subtract unsigned bytes, where 0 - 1 is 255.

Images are H x W x 3 uint8. A comparison needs one size: `same_size` resizes the larger to the smaller.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from manifests.images.pixels import Pixels

Values = npt.NDArray[np.float64]

_WINDOW_PX, _SIGMA_PX = 11, 1.5  # of SSIM: Wang et al. 2004, section III-B

_CHANGED = 0.1
"""Difference of a pixel's colour, of 1, from which it counts as changed. Ours: above JPEG's and a decoder's noise."""


def same_size(first: Pixels, second: Pixels) -> tuple[Pixels, Pixels]:
    """Both at the size of the one with fewer pixels; the other is averaged over areas (cv2.INTER_AREA)."""
    if first.shape == second.shape:
        return first, second
    if first.shape[0] * first.shape[1] > second.shape[0] * second.shape[1]:
        return _resized(first, second), second
    return first, _resized(second, first)


def mean_abs_diff(first: Pixels, second: Pixels) -> float:
    """In [0, 1]; of images of one size, as all that follow."""
    return float(np.abs(_unit(first) - _unit(second)).mean())


def ssim(first: Pixels, second: Pixels) -> float:
    """Structural similarity in [-1, 1] of the luma, Gaussian window. Raises ValueError for sides under 11 px."""
    value: float = structural_similarity(
        _luma(first),
        _luma(second),
        data_range=1.0,
        gaussian_weights=True,
        sigma=_SIGMA_PX,
        win_size=_WINDOW_PX,
        use_sample_covariance=False,
    )
    return float(value)


def changed_area(first: Pixels, second: Pixels) -> float:
    """Share of the pixels, in [0, 1], of which some channel differs by more than a tenth of the range."""
    return float((np.abs(_unit(first) - _unit(second)).max(axis=2) > _CHANGED).mean())


def sharpness(image: Pixels) -> float:
    """Variance of the luma's Laplacian, at the scale of bytes (0 to 255), as is usual: above 100 counts as sharp."""
    return float(cv2.Laplacian(255 * _luma(image), cv2.CV_64F).var())


def _resized(image: Pixels, like: Pixels) -> Pixels:
    resized = cv2.resize(image, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def _unit(image: Pixels) -> Values:
    return image.astype(np.float64) / 255


def _luma(image: Pixels) -> Values:
    """ITU-R BT.601, in [0, 1]."""
    values: Values = _unit(image) @ np.array((0.299, 0.587, 0.114))
    return values
