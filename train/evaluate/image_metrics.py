"""PSNR and SSIM of 8-bit RGB images."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels

# Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004: an 11 x 11
# Gaussian window of standard deviation 1.5, K1 = 0.01, K2 = 0.03, and 255 for the range of the values.
WINDOW_PX = 11
_SIGMA_PX = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_BORDER_PX = WINDOW_PX // 2


def psnr_db(prediction: Pixels, target: Pixels) -> float:
    """Peak signal-to-noise ratio over all three channels, dB; infinite if the images are equal."""
    error = float(np.mean(np.square(prediction.astype(np.float64) - target)))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(prediction: Pixels, target: Pixels) -> float:
    """Structural similarity in [-1, 1], the mean over the channels.

    Only windows that lie wholly in the image count, as in the authors' program. Raises ValueError for an image with a
    side below the window's 11 px.
    """
    if min(target.shape[:2]) < WINDOW_PX:
        raise ValueError(f"SSIM needs {WINDOW_PX} x {WINDOW_PX} px or more, not {target.shape[1]} x {target.shape[0]}")
    x, y = prediction.astype(np.float64), target.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    scale = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    return float(np.mean(likeness / scale))


def _window(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The Gaussian mean of each window, H x W x 3 -> H - 10 x W - 10 x 3."""
    kernel = cv2.getGaussianKernel(WINDOW_PX, _SIGMA_PX, cv2.CV_64F)
    blurred = cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel)
    return np.asarray(blurred[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX], np.float64)
