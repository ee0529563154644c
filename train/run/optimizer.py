"""AdamW, and a cosine after a linear warm-up: a function of the step, so that a checkpoint's step restores it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

BETAS = (0.9, 0.95)
"""Adam's betas: Lumina-mGPT's for Chameleon, since the paper does not say."""


def make_optimizer(
    model: nn.Module, lr: float, weight_decay: float, *, kind: str = "adamw", on_gpu: bool = False
) -> Optimizer:
    """AdamW over all parameters that are not frozen, embeddings and head included (the authors train all weights).

    Matrices decay; norms, biases and the X-Prompt embeddings do not. The norms of queries and keys are matrices in
    shape, one row a head, hence the look at the name. `kind` "adamw8bit" is torchao's, which keeps the moments of
    parameters of 4,096 values and more in 8 bits, by blocks of 256, and needs 2 bytes a parameter where AdamW needs 8.
    `on_gpu` chooses the kernels: on a CPU the plain ones, whose results are as they always were. Raises ValueError
    where torchao is not installed.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim >= 2 and "norm" not in name and name != "xp"
        (decayed if is_matrix else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if kind == "adamw":
        # Fused, an update needs no memory; the loop over tensors that a GPU would get needs that of a copy of them.
        return AdamW(groups, lr=lr, betas=BETAS, fused=on_gpu or None)
    optimizer = _eight_bit(groups, lr)
    if not on_gpu:
        # It compiles its update for each shape of a parameter, which takes a CPU longer than it saves.
        optimizer.step = torch.compiler.set_stance("force_eager")(optimizer.step)  # type: ignore[method-assign]
    return optimizer


def _eight_bit(groups: list[dict[str, Any]], lr: float) -> Optimizer:
    try:
        from torchao.optim import AdamW8bit
        from torchao.optim.subclass_8bit import OptimState8bit
    except ImportError:
        raise ValueError("--optimizer adamw8bit needs torchao: install the extra low-memory") from None

    @OptimState8bit.implements(torch.ops.aten.new_empty.default)  # type: ignore[untyped-decorator]
    def _new_empty(func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """What asynchronous checkpoints ask of a tensor to copy it before it is written; torchao lacks it."""
        state, size = args
        scales = math.prod(size) // state.block_size
        codes, scale = state.codes.new_empty(size, **kwargs), state.scale.new_empty(scales, **kwargs)
        return OptimState8bit(codes, scale, state.qmap.clone(), state.signed, state.dtype)

    optimizer: Optimizer = AdamW8bit(groups, lr=lr, betas=BETAS)
    return optimizer


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the rate of all groups. torchao's optimizers keep it in a tensor, so that they need not compile anew."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def learning_rate(step: int, *, peak: float, warmup_steps: int, steps: int) -> float:
    """The learning rate of the step-th update, from 0: in a line up to the peak, then down to 0 along half a cosine."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * min(1.0, done))) / 2
