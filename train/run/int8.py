"""Frozen weights in 8 bits: a linear layer of int8 with one scale a row, which FSDP shards like any other parameter.

torchao's own tensors do not do here: its Int8Tensor has no FSDP hooks, and its int8 tensor for training rounds at
random when it is filled and computes the gradients of frozen weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LARGEST = 127


class Int8Linear(nn.Linear):
    """A frozen linear layer without bias: `weight` int8, [out, in], and `scale`, [out], in the dtype of computation.

    A linear layer by its class, because peft looks at it.
    """

    scale: nn.Parameter

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        """Rounds a layer's weights, symmetrically by row: the largest of a row becomes 127. Works on meta tensors.

        Raises ValueError for a layer with a bias.
        """
        if linear.bias is not None:
            raise ValueError("a layer with a bias is not kept in 8 bits")
        with torch.device("meta"):
            super().__init__(linear.in_features, linear.out_features, bias=False)
        weight = linear.weight.detach().float()
        # The scale is rounded first, and the weights divided by what it then is: so its rounding costs nothing.
        scale = (weight.abs().amax(1) / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny).to(dtype)
        rounded = (weight / scale.float()[:, None]).round().clamp(-_LARGEST, _LARGEST).to(torch.int8)
        self.weight = nn.Parameter(rounded, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        found: Tensor = _Product.apply(input, self.weight, self.scale)
        return found


class _Product(torch.autograd.Function):
    """input @ (scale * weight).T, which keeps the int8 weights for its way back, not a wide copy of them."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return nn.functional.linear(input, weight.to(input.dtype)) * scale.to(input.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        weight, scale = ctx.saved_tensors
        return (gradient * scale.to(gradient.dtype)) @ weight.to(gradient.dtype), None, None
