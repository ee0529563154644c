"""AdamW, and a cosine after a linear warm-up: a function of the step, so that a checkpoint's step restores it."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

BETAS = (0.9, 0.95)
"""Adam's betas: Lumina-mGPT's for Chameleon, since the paper does not say."""


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """AdamW over all parameters, embeddings and head included (the authors train all weights).

    Matrices decay; norms, biases and the X-Prompt embeddings do not. The norms of queries and keys are matrices in
    shape, one row a head, hence the look at the name.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim >= 2 and "norm" not in name and name != "xp"
        (decayed if is_matrix else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=lr, betas=BETAS)


def learning_rate(step: int, *, peak: float, warmup_steps: int, steps: int) -> float:
    """The learning rate of the step-th update, from 0: in a line up to the peak, then down to 0 along half a cosine."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * min(1.0, done))) / 2
