"""Tiny random Stable Diffusion 1.5 checkpoints, in the real ones' classes and files.

Latents have the real ones' scale of 1/8 and four channels, so that everything about them is as in a real run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel

from infra.tiny.diffusion import _clip_text, _standardise
from infra.tiny.tokenizers import clip_tokenizer
from operators.models.catvton import RELEASED

SIDE_PX = 64
"""Side of the pictures: the UNet's config says 8 latents, as SD 1.5's says 64."""

_WIDTH = 32
_UNET: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": _WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}


_ZEROS = ("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")
"""Parameters of a ControlNet that begin at zero: untrained, it does nothing."""


def write_sd15(folder: Path) -> None:
    _write(folder, StableDiffusionPipeline, 4)


def write_sd15_inpaint(folder: Path) -> None:
    """Write an inpainting model, whose UNet takes nine channels: latents, mask, latents of the masked picture."""
    _write(folder, StableDiffusionInpaintPipeline, 9)


def write_sd15_tryon(folder: Path) -> None:
    """Write an inpainting UNet with a loud self-attention, since it is what carries the garment over, and its VAE.

    It says that it was trained as the released one, at SIDE_PX.
    """
    torch.manual_seed(4)
    unet = unet_of(9)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if ".attn1." in name:
                parameter.mul_(4)
    unet.save_pretrained(folder)
    vae().save_pretrained(folder / "vae")
    replace(RELEASED, height_px=SIDE_PX, width_px=SIDE_PX).write(folder)


def write_sd15_controlnet(folder: Path) -> None:
    torch.manual_seed(2)
    controlnet = ControlNetModel(**_UNET, conditioning_embedding_out_channels=(8, 8, 16, 16))
    with torch.no_grad():
        for name, parameter in controlnet.named_parameters():
            if name.startswith(_ZEROS):
                parameter.normal_(0, 1)
            elif name.startswith("controlnet_cond_embedding") and name.endswith("weight"):
                parameter.mul_(4)  # most of a pose drawing is black
    controlnet.save_pretrained(folder)


def vae() -> Any:
    """An autoencoder whose decoder makes pictures of most of the range of colours."""
    made = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE_PX,
        scaling_factor=0.18215,
    )
    with torch.no_grad():
        _standardise(made.decoder.conv_out, lambda: made.decode(torch.randn(4, 4, 16, 16) / 0.18215), 0.4)
    return made


def _write(folder: Path, kind: Any, channels: int) -> None:
    torch.manual_seed(channels)
    tokenizer = clip_tokenizer()
    kind(
        vae=vae(),
        text_encoder=_clip_text(CLIPTextModel, tokenizer).eval(),
        tokenizer=tokenizer,
        unet=unet_of(channels),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def unet_of(channels: int) -> Any:
    return UNet2DConditionModel(
        sample_size=SIDE_PX // 8,
        in_channels=channels,
        out_channels=4,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **_UNET,
    )
