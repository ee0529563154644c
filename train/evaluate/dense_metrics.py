"""Depth, segmentation and normals: predictions as colour images, read back through operators/shared/palettes.py.

Pixels for which the target has no value do not count. A prediction that is black where the target has a value is
wrong, not absent: it counts as a depth of 0 m, as no class, and as a normal in the opposite direction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels
from operators.shared.ade20k import CLASSES
from operators.shared.palettes import TRAINED_PALETTE, decode_depth, decode_labels, decode_normals
from operators.shared.square import square

_IDS = len(CLASSES) + 1  # 0 is "other"


NYU_SIZE_PX = (480, 640)
"""Height and width of NYU-v2's images."""

_EIGEN_ROWS, _EIGEN_COLUMNS = slice(45, 471), slice(41, 601)
"""The part of them on which depth is evaluated since Eigen et al. (2014): https://github.com/cleinc/bts, utils/
eval_with_pngs.py, for --dataset nyu with --eigen_crop."""


def inside_eigen_crop(height_px: int, width_px: int) -> npt.NDArray[np.bool_]:
    """H x W: which pixels of an image of NYU-v2 count. One of another size is taken for the centred square of it,
    which operators/shared/square.py cuts out and scales, if it is square.

    Raises ValueError for a size that is neither NYU-v2's nor square.
    """
    inside = np.zeros(NYU_SIZE_PX, np.uint8)
    inside[_EIGEN_ROWS, _EIGEN_COLUMNS] = 255
    if (height_px, width_px) == NYU_SIZE_PX:
        return inside > 0
    if height_px != width_px:
        raise ValueError(f"{width_px} x {height_px} px are not NYU-v2's 640 x 480, which the crop of its borders is of")
    whole = np.repeat(inside[..., None], 3, axis=-1)
    return np.asarray(square(whole, height_px, nearest=True)[..., 0] > 0)


def depth_rmse_m(
    prediction: Pixels, target: Pixels, palette: str = TRAINED_PALETTE, counts: npt.NDArray[np.bool_] | None = None
) -> float:
    """Root of the mean squared error of H x W x 3 colour-coded depths, metres; NaN if the target has no depth.

    NYU-v2's usual figure is the mean of this over the images, as in https://github.com/cleinc/bts, over the pixels of
    `inside_eigen_crop`: H x W `counts`, None for all.
    """
    depth_m = decode_depth(target, palette).astype(np.float64)
    valid = np.isfinite(depth_m) & (True if counts is None else counts)
    if not valid.any():
        return float("nan")
    found_m = np.nan_to_num(decode_depth(prediction, palette).astype(np.float64), nan=0.0)
    return float(np.sqrt(np.mean(np.square(found_m - depth_m)[valid])))


def overlaps(prediction: Pixels, target: Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Of two H x W x 3 label images, for each of ADE20K's 150 classes: the pixels in both, and in either, [150] each;
    and how many pixels have a label. Those without one in the target, "other", are not judged.

    The mean intersection over union is that of the sums over a dataset, over the classes that occur in a target or a
    prediction.
    """
    wanted, found = decode_labels(target).astype(np.int64), decode_labels(prediction).astype(np.int64)
    confusion = np.bincount((wanted * _IDS + found).ravel(), minlength=_IDS**2).reshape(_IDS, _IDS)
    confusion[0] = 0
    both = np.diag(confusion)[1:]
    return both, confusion.sum(0)[1:] + confusion.sum(1)[1:] - both, int(confusion.sum())


def angles_deg(prediction: Pixels, target: Pixels) -> npt.NDArray[np.float64]:
    """The angle between the normals of two H x W x 3 normal maps, degrees, of each pixel whose target has one."""
    wanted, found = decode_normals(target).astype(np.float64), decode_normals(prediction).astype(np.float64)
    valid = np.isfinite(wanted).all(-1)
    cosine = np.nan_to_num((wanted * found).sum(-1)[valid], nan=-1.0)
    return np.asarray(np.rad2deg(np.arccos(cosine.clip(-1, 1))), np.float64)
