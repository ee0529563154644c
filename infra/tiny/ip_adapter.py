"""Tiny random IP-Adapters for the tiny Stable Diffusion and FLUX, in the published files' names and keys."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from infra.tiny.flux import transformer_sizes
from infra.tiny.sd import unet_of
from operators.paint.compose import FLUX_WEIGHTS, SD15_WEIGHTS

_TOKENS = 4
"""Tokens that an image becomes: num_tokens of IP-Adapter and of XLabs'."""

_WIDTH = 32
"""Width of the text embeddings of both tiny models, and of the image encoders."""


def write_sd15_ip_adapter(folder: Path) -> None:
    torch.manual_seed(5)
    subfolder, name = SD15_WEIGHTS
    write_image_encoder(folder / subfolder / "image_encoder")
    unet: UNet2DConditionModel = unet_of(4)
    weights = {f"image_proj.{key}": value for key, value in _projection().items()}
    for index, processor in enumerate(unet.attn_processors):
        if "attn2" in processor:
            width = unet.get_submodule(processor.removesuffix(".processor")).to_q.out_features
            for which in ("k", "v"):
                weights[f"ip_adapter.{index}.to_{which}_ip.weight"] = 0.3 * torch.randn(width, _WIDTH)
    save_file(weights, folder / subfolder / name)


def write_flux_ip_adapter(folder: Path) -> None:
    torch.manual_seed(6)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = transformer_sizes()
    width = sizes["attention_head_dim"] * sizes["num_attention_heads"]
    weights = {f"ip_adapter_proj_model.{key}": value for key, value in _projection().items()}
    for index in range(sizes["num_layers"]):
        for which in ("k", "v"):
            key = f"double_blocks.{index}.processor.ip_adapter_double_stream_{which}_proj"
            weights[f"{key}.weight"] = torch.randn(width, _WIDTH)
            weights[f"{key}.bias"] = torch.zeros(width)
    save_file(weights, folder / FLUX_WEIGHTS)


def write_image_encoder(folder: Path) -> None:
    """CLIP's vision tower, in which the picture is heard among the positions."""
    torch.manual_seed(7)
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=_WIDTH,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=224,
            patch_size=32,
            projection_dim=_WIDTH,
        )
    )
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "patch_embedding" in name or name.startswith("visual_projection"):
                parameter.mul_(20)
    encoder.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def _projection() -> dict[str, torch.Tensor]:
    """The weights of the projection from an image's embedding to its tokens."""
    return {
        "proj.weight": torch.randn(_TOKENS * _WIDTH, _WIDTH),
        "proj.bias": torch.zeros(_TOKENS * _WIDTH),
        "norm.weight": torch.ones(_WIDTH),
        "norm.bias": torch.zeros(_WIDTH),
    }
