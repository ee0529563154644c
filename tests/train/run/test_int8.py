"""Frozen weights in 8 bits round as torchao does, and multiply, forwards and backwards, as what they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchao.prototype.quantized_training import int8

from train.run.int8 import Int8Linear


def test_rows_are_rounded_as_torchao_rounds_them() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 32, bias=False)
    with torch.no_grad():
        linear.weight[5] = 0
    found = Int8Linear(linear, torch.float32)
    expected, scale = int8.quantize_int8_rowwise(linear.weight.detach())
    assert torch.equal(found.weight, expected)
    torch.testing.assert_close(found.scale[:5], scale[:5])
    assert int(found.weight.abs().max()) == 127 and not found.weight[5].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_and_gradients_are_those_of_the_rounded_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(64, 32, bias=False), dtype)
    whole = (layer.weight.double() * layer.scale.double()[:, None]).requires_grad_()
    given = torch.randn(3, 7, 64, dtype=dtype, requires_grad=True)
    again = given.detach().double().requires_grad_()
    made, expected = layer(given), nn.functional.linear(again, whole)
    assert made.dtype == dtype
    within = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(made.double(), expected, rtol=within, atol=within)
    made.sum().backward()
    expected.sum().backward()
    assert given.grad is not None and again.grad is not None
    torch.testing.assert_close(given.grad.double(), again.grad, rtol=within, atol=within)
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_a_bias_is_refused() -> None:
    with pytest.raises(ValueError, match="a bias"):
        Int8Linear(nn.Linear(4, 4), torch.float32)
