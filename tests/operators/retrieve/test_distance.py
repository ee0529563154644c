from __future__ import annotations

import numpy as np

from operators.retrieve.distance import Distance


def test_scores_agree_with_the_formulas_worked_out_by_hand() -> None:
    left, right = np.array([[3, 4]], np.float32), np.array([[4, 3]], np.float32)
    assert [float(way.score(left, right)[0]) for way in Distance] == [0.96, 24.0, -1.0]
    nothing = np.zeros((1, 2), np.float32)
    assert Distance.COSINE.score(nothing, right)[0] == 0
