"""Whether two small images show one scene, by their structure alone: exposure, contrast and colours may differ.

Luma at a shorter side of GRID_PX is taken relative to its surroundings: less their mean, over their contrast. The
correlation of what is left says how much of the structure the two have in common. Gradients, ranks and phases were
measured beside it (infra/bench/README.md): locally normalised luma keeps its value best under all of our degradations.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

GRID_PX = 32
"""Shorter side at which structures are compared. A shift of more than half such a pixel makes them differ."""

_LUMA = np.array((0.299, 0.587, 0.114))
_AROUND = 3.0  # standard deviation of the Gaussian surroundings, pixels of the grid
_LEAST_VARIANCE = 1.0  # levels squared, of rounding: below it there is no contrast to go by


def structure_grid(image: Values) -> Values:
    """The luma of an H x W x 3 image, in levels of 255 as the image is, at a shorter side of GRID_PX at the most."""
    grid = luma(image)
    height, width = grid.shape
    factor = GRID_PX / min(height, width)
    if factor >= 1:
        return grid
    size = round(width * factor), round(height * factor)
    return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_AREA), np.float64)


def luma(values: Values) -> Values:
    """The luma of ... x 3 levels after ITU-R BT.601."""
    return np.asarray((values.reshape(-1, 3) @ _LUMA).reshape(values.shape[:-1]))  # of a matrix: 5 times faster


def alignment(first: Values, second: Values) -> float:
    """The correlation, from -1 to 1, of the structures of two grids of one size; 0 where one of them is flat."""
    return float((_relative(first) * _relative(second)).sum())


def turned_alignment(first: Values, second: Values) -> float:
    """The highest `alignment` of the first grid with the second one mirrored or turned by a multiple of 90 degrees.

    Turns by 90 degrees are tried where the grids are square: elsewhere they change the size, which is seen without.
    """
    one, other = _relative(first), _relative(second)
    ways = [other[:, ::-1], other[::-1], other[::-1, ::-1]]
    if other.shape[0] == other.shape[1]:
        ways += [other.T, other.T[:, ::-1], other.T[::-1], other.T[::-1, ::-1]]
    return max(float((one * way).sum()) for way in ways)


def _relative(grid: Values) -> Values:
    """A grid relative to its surroundings, with a mean of 0 and a length of 1, or all 0 if it is flat."""
    detail = grid - _surroundings(grid)
    relative = detail / np.sqrt(_surroundings(detail * detail) + _LEAST_VARIANCE)
    relative -= relative.mean()
    length = float(np.sqrt((relative * relative).sum()))
    return np.asarray(relative / length if length > 1e-6 else np.zeros_like(relative))


def _surroundings(values: Values) -> Values:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _AROUND, borderType=cv2.BORDER_REFLECT), np.float64)
