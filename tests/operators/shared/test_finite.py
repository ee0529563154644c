from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from manifests.schema import Reject
from operators.shared.finite import check_finite, not_finite


@pytest.mark.parametrize(
    "given",
    [
        math.nan,
        -math.inf,
        np.array([[0.0, math.nan]], np.float32),
        torch.tensor([1.0, math.inf], dtype=torch.bfloat16),
        (torch.zeros(2), [np.zeros(1), torch.tensor(math.nan)]),
    ],
)
def test_what_holds_no_number_is_rejected_as_the_networks_fault(given: Any) -> None:
    reject = not_finite("it", given)
    assert reject and reject.reason == "not_finite" and "the device" in reject.message
    with pytest.raises(Reject, match="it gives"):
        check_finite("it", given)


@pytest.mark.parametrize("given", [0.0, np.zeros((0, 3)), torch.tensor([6e4]).half(), (np.arange(3), torch.ones(1))])
def test_numbers_are_numbers(given: Any) -> None:
    assert not_finite("it", given) is None
