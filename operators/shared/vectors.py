"""The vector that an embedder makes of one image or text, and how alike two of them are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
"""A one-dimensional array, which stands for an image or a text."""


def cosine(first: Vector, second: Vector) -> float:
    """The cosine similarity of two vectors, in [-1, 1]; 0 if one of them has no direction."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else 0.0
