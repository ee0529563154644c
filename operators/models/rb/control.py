"""RB-Modulation's stochastic optimal control of stage C's latents.

arXiv 2405.17401, Algorithm 2: at each step the clean latents that the model expects, x0, are replaced by a z0 near
them whose picture has the reference's style, found by a few steps of gradient descent on the terminal cost; the noise
estimate stays as it was. As gdf_rbm.py of https://github.com/google/RB-Modulation does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from operators.models.rb.parameters import StageCSampling, Weights

Descriptors = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Latents -> the style and content descriptors of their preview, 1 x d each, of length 1. Differentiable."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The terminal cost of clean latents z0, a scalar; lower is closer to the references.

    style |1 - cos(style(z0), style of the reference)| + content |1 - cos(content(z0), content of the reference)|
    + text mean((z0 - x0)^2), each weighted. The content term counts only if there is a content reference.
    """

    describe: Descriptors
    style: torch.Tensor
    """1 x d, the reference's style descriptor."""
    content: torch.Tensor | None = None
    """1 x d, the reference's content descriptor."""
    weights: Weights

    def __call__(self, z0: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
        style, content = self.describe(z0)
        cost = self.weights.style * _distance(style, self.style) + self.weights.text * functional.mse_loss(z0, x0)
        if self.content is not None:
            cost = cost + self.weights.content * _distance(content, self.content)
        return cost


def _distance(descriptor: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (1 - functional.cosine_similarity(descriptor, reference)).abs().mean()


def controlled(x0: torch.Tensor, cost: Cost, rate: float, iterations: int) -> torch.Tensor:
    """z0: the latents after that many steps of Adam (its defaults, that learning rate) on the cost, from x0."""
    with torch.enable_grad():
        z0 = x0.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([z0], lr=rate)
        for _ in range(iterations):
            optimiser.zero_grad()
            cost(z0, x0).backward()
            optimiser.step()
    return z0.detach()


@dataclass(frozen=True, kw_only=True)
class Control:
    """What `sampling.sample` does with the clean latents that a step of stage C expects."""

    cost: Cost
    sampling: StageCSampling

    def __call__(self, clean: torch.Tensor, step: int) -> torch.Tensor:
        if step >= self.sampling.tau or not self.sampling.iterations:
            return clean
        rate = self.sampling.eta * (1 - step / self.sampling.steps)
        return controlled(clean, self.cost, rate, self.sampling.iterations)
