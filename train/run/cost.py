"""What training costs in floating-point operations, by parameters and attended pairs."""

from __future__ import annotations

from collections.abc import Mapping

from xprompt_model.model import XPromptChameleon

PEAK_FLOPS: Mapping[str, float] = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "B200": 2_250e12}
"""Dense bfloat16 FLOP/s of a GPU (SXM), by a part of its name: NVIDIA's data sheets, without sparsity."""


def peak_flops(device_name: str) -> float | None:
    """The peak of a device, None where it is not in the table (a CPU)."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in device_name), None)


def parameters(model: XPromptChameleon) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def dense_flops(model: XPromptChameleon) -> int:
    """FLOPs a token outside attention's own products, forward and backward: 6 a parameter (Kaplan et al. 2020).

    4 where it is frozen, for it has no gradient. Embeddings do not count: they are looked up, not multiplied with.
    """
    looked_up = {id(model.embed_tokens.weight), id(model.xp)}
    multiplied = [parameter for parameter in model.parameters() if id(parameter) not in looked_up]
    return sum((6 if parameter.requires_grad else 4) * parameter.numel() for parameter in multiplied)


def pair_flops(model: XPromptChameleon) -> int:
    """FLOPs, forward and backward, of one query attending to one key in all layers and heads: 6 L H (2 head_dim)."""
    config = model.config
    return 6 * config.num_hidden_layers * 2 * config.hidden_size


def flops_per_token(model: XPromptChameleon, window_tokens: int) -> int:
    """torchtitan's convention for MFU: each query attends to the whole window, whatever the mask."""
    return dense_flops(model) + pair_flops(model) * window_tokens
