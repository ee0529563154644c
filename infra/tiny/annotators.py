"""Tiny random checkpoints of what annotates photos: depth, ADE20K's classes, surface normals.

Their files and the names in them are those of the published ones; photos are seen at a few dozen pixels. By the
initialisation of transformers all photos would look the same to them, so weights keep the scale of what passes through,
and the last layer is rescaled to give maps that vary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, MarigoldNormalsPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers import (
    CLIPTextModel,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from infra.tiny.diffusion import _clip_text, _standardise
from infra.tiny.layers import output_of
from infra.tiny.sd import vae
from infra.tiny.tokenizers import clip_tokenizer
from operators.shared.ade20k import CLASSES

_DEPTH_PX, _PATCH_PX = 112, 14  # 518 in the published one
_LABELS_PX = 64  # 640
_NORMALS_PX = 64  # 768
_WIDTH = 32
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def write_depth_anything(folder: Path) -> None:
    """Write a Depth Anything."""
    torch.manual_seed(0)
    taken: dict[str, Any] = {"out_indices": [1, 2, 3, 4]}  # from a property, of which its signature knows nothing
    backbone = Dinov2Config(
        hidden_size=_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=_DEPTH_PX,
        patch_size=_PATCH_PX,
        reshape_hidden_states=False,
        **taken,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=_WIDTH,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        head_hidden_size=8,
    )
    model = DepthAnythingForDepthEstimation(config).eval()
    with torch.no_grad():
        _initialise(model)
        _standardise(model.head.conv3, lambda: output_of(model, model.head.conv3, _pictures(_DEPTH_PX)), 1.0, 3.0)
    model.save_pretrained(folder)
    DPTImageProcessor(
        size={"height": _DEPTH_PX, "width": _DEPTH_PX},
        keep_aspect_ratio=True,
        ensure_multiple_of=_PATCH_PX,
        resample=3,
        image_mean=_MEAN,
        image_std=_STD,
    ).save_pretrained(folder)


def write_segformer(folder: Path) -> None:
    """Write a SegFormer: pickled weights, and an image processor by the name of an earlier transformers."""
    torch.manual_seed(0)
    names = [name for name, *_ in CLASSES]
    config = SegformerConfig(
        hidden_sizes=[16, 16, 32, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=_WIDTH,
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
    )
    model = SegformerForSemanticSegmentation(config).eval()
    with torch.no_grad():
        _initialise(model)
        _standardise(model.decode_head.classifier, lambda: model(_pictures(_LABELS_PX)).logits, 1.0)
    model.save_pretrained(folder)
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "SegformerFeatureExtractor",
        "image_mean": _MEAN,
        "image_std": _STD,
        "reduce_labels": True,
        "resample": 2,
        "size": _LABELS_PX,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2))


def write_marigold_normals(folder: Path) -> None:
    """Write a Marigold: a UNet that sees a photo's latents beside those that it denoises, two steps of DDIM."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=_NORMALS_PX // 8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )
    with torch.no_grad():
        unet.conv_in.weight[:, :4].mul_(8)  # the photo's latents come first, and are to be heard
    MarigoldNormalsPipeline(
        unet=unet.eval(),
        vae=vae().eval(),
        scheduler=scheduler,
        text_encoder=_clip_text(CLIPTextModel, tokenizer).eval(),
        tokenizer=tokenizer,
        prediction_type="normals",
        use_full_z_range=True,
        default_denoising_steps=2,
        default_processing_resolution=_NORMALS_PX,
    ).save_pretrained(folder)


def _initialise(model: nn.Module) -> None:
    """Layers that keep the scale of what passes through them."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _pictures(side_px: int) -> torch.Tensor:
    """Coloured noise of two scales, normalised, 8 x 3 x side x side."""
    coarse, fine = (
        functional.interpolate(torch.randn(8, 3, cells, cells), size=side_px, mode="bicubic") for cells in (3, 12)
    )
    return coarse + fine / 2
