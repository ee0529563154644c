"""Tiny random companions of the tiny FLUX: its ControlNet, and FLUX Fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import FluxControlNetModel, FluxFillPipeline, FluxTransformer2DModel

from infra.tiny.diffusion import write_flux

MODES = 10
"""Modes of a union ControlNet: num_mode of https://huggingface.co/Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro."""


def write_flux_controlnet(folder: Path) -> None:
    """A union ControlNet, as the published one, whose mode 4 is pose."""
    torch.manual_seed(3)
    controlnet = FluxControlNetModel(**transformer_sizes() | {"num_single_layers": 0, "num_mode": MODES})
    with torch.no_grad():
        for name, parameter in controlnet.named_parameters():
            if name.startswith(("controlnet_blocks", "controlnet_x_embedder")):
                parameter.normal_(0, 1)  # they begin at zero: an untrained ControlNet does nothing
    controlnet.save_pretrained(folder)


def write_flux_fill(folder: Path) -> None:
    """The tiny FLUX with a transformer that also takes the masked picture's latents (16) and the mask (64 x 4)."""
    write_flux(folder)
    torch.manual_seed(8)
    transformer = FluxTransformer2DModel(**transformer_sizes() | {"in_channels": 16 + 16 + 256, "out_channels": 16})
    with torch.no_grad():
        transformer.proj_out.weight.mul_(4)
    FluxFillPipeline.from_pretrained(folder, transformer=transformer).save_pretrained(folder)


def transformer_sizes() -> dict[str, Any]:
    """The sizes of the tiny FLUX's transformer (infra/tiny/diffusion.py)."""
    return {
        "patch_size": 1,
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 32,
        "guidance_embeds": True,
        "axes_dims_rope": (4, 6, 6),
    }
