"""Rotary embeddings in windows that are longer than the one a checkpoint was made for.

Unscaled, positions beyond those of the config are only further rotations, which the weights have not seen: the paper
goes from 4,096 to 5,120 so. `linear` divides positions by window / original, so that all lie where the weights know
them; `yarn` does so for slow rotations only, and sharpens attention (Peng et al. 2023). Both are computed by
transformers, and recorded in config.json as it reads them. `dynamic` is refused: there the frequencies depend on the
length of a sequence, and an example that was compressed once would not hold behind another length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import ChameleonConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from xprompt_model.layout import WINDOW_TOKENS

SCALINGS = ("linear", "yarn")


def refuse_unknown_rope(config: ChameleonConfig) -> None:
    """Raises ValueError for rotary embeddings of another type than Chameleon's own or one of SCALINGS."""
    rope: Any = config.rope_parameters
    if rope["rope_type"] not in ("default", *SCALINGS):
        raise ValueError(f"rope_parameters {rope}: only Chameleon's own, or {' or '.join(SCALINGS)}, are known")


def window_tokens(config: ChameleonConfig) -> int:
    """The longest document of a model: what it was trained with, and the paper's window at the least."""
    return max(WINDOW_TOKENS, config.max_position_embeddings)


def with_window(config: ChameleonConfig, window_tokens: int, rope: str = "") -> ChameleonConfig:
    """A config for training in a window, its rotary embeddings scaled to it by one of SCALINGS, or "": as they are.

    Raises ValueError, one line, for a scaling that there is not, that the window does not need, or another than the
    one the checkpoint was trained with: its weights would be of no use.
    """
    refuse_unknown_rope(config)
    known: Any = config.rope_parameters
    made_for = config.max_position_embeddings
    is_scaled = known["rope_type"] != "default"
    found = ChameleonConfig.from_dict(config.to_dict())
    found.max_position_embeddings = max(made_for, window_tokens)
    if not rope:
        if is_scaled and window_tokens > made_for:
            raise ValueError(
                f"--window-tokens {window_tokens}: the checkpoint's rotary embeddings are scaled to {made_for:,} "
                f"({known['rope_type']}): stay within, or start from one that is not scaled"
            )
        return found
    if rope not in SCALINGS:
        raise ValueError(f"--rope {rope}: it is {' or '.join(SCALINGS)}, or left out")
    if is_scaled:
        if (rope, window_tokens) != (known["rope_type"], made_for):
            raise ValueError(
                f"--rope {rope} to {window_tokens:,} tokens: the checkpoint's rotary embeddings are already scaled, "
                f"{known['rope_type']} to {made_for:,}: leave --rope out, or start from one that is not scaled"
            )
        return found
    if window_tokens <= made_for:
        raise ValueError(
            f"--rope {rope}: the checkpoint has {made_for:,} positions, --window-tokens is {window_tokens}"
        )
    found.rope_parameters = {
        "rope_type": rope,
        "rope_theta": known["rope_theta"],
        "factor": window_tokens / made_for,
        **({"original_max_position_embeddings": made_for} if rope == "yarn" else {}),
    }
    return found


def inverse_frequencies(config: ChameleonConfig, device: torch.device) -> tuple[Tensor, float]:
    """Radians a position, [head_dim / 2] float32, and the factor of cosine and sine, as transformers has them."""
    rope: Any = config.rope_parameters
    if rope["rope_type"] != "default":
        scaled: tuple[Tensor, float] = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, device)
        return scaled
    dim = config.hidden_size // config.num_attention_heads
    exponent = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
    return 1.0 / float(rope["rope_theta"]) ** exponent, 1.0
