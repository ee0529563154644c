from __future__ import annotations

import numpy as np
import pytest

from operators.shared.vectors import cosine


def test_cosine() -> None:
    assert cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert cosine(np.array([0.0, 0.0]), np.array([1.0, 0.0])) == 0
