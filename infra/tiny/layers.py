"""Looks at what a layer inside a model gives, by which random weights are scaled."""

from __future__ import annotations

import torch
from torch import nn


def output_of(model: nn.Module, layer: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """What a layer inside a model gives, shown pictures."""
    outputs: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    model(pictures)
    handle.remove()
    return outputs[0]
