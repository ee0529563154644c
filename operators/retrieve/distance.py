"""How near two vectors are: the three distances that retrieval can use, and their exact scores."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from operators.shared.texts import Vectors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DECIMALS = 6
"""Scores that agree to so many places are equal: float32 vectors do not say more."""


class Distance(StrEnum):
    """How near two vectors are, as a score of which more is nearer."""

    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"
    """Minus half the squared distance."""

    def points(self, vectors: Vectors) -> tuple[Vectors, Vectors]:
        """What ranks n vectors by one matrix product: points [n, d] and penalties [n].

        Of a point p, the nearer of two others is the one with the larger p . other - penalty of the other. For L2, that
        is the score of the distance plus half the squared length of p, which is the same for all others.
        """
        squared = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
        if self is Distance.L2:
            return vectors, (squared / 2).astype(np.float32)
        if self is Distance.COSINE:
            lengths = np.sqrt(squared)[:, None]
            vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        return vectors, np.zeros(len(vectors), np.float32)

    def score(self, left: Vectors, right: Vectors) -> Floats:
        """The scores of rows with rows, computed in float64 and rounded to DECIMALS places."""
        a, b = left.astype(np.float64), right.astype(np.float64)
        scores = -((a - b) ** 2).sum(-1) / 2 if self is Distance.L2 else (a * b).sum(-1)
        if self is Distance.COSINE:
            lengths = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
            scores = scores / np.where(lengths > 0, lengths, 1)
        rounded: Floats = np.round(scores, DECIMALS) + 0.0  # no -0.0
        return rounded
