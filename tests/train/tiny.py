"""Small random checkpoints of the models that score: CLIP (open_clip), DINOv2 and YOLOS (transformers)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from transformers import (
    BitImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessorPil,
    SwinConfig,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessorPil,
)

CLASSES = ("bench", "dog", "apple")


def write_clip(folder: Path) -> Path:
    """An open_clip checkpoint of 16 x 16 px images."""
    folder.mkdir(parents=True)
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return folder


def write_dino(folder: Path) -> Path:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def write_detector(folder: Path) -> Path:
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=5,
        id2label=dict(enumerate(CLASSES)),
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def write_mask2former(folder: Path, side_px: int = 64, pad_to: int | None = None) -> Path:
    """A Mask2Former of three classes, of which COCO calls one otherwise than GenEval. Images are seen with `side_px` on
    their shorter side, padded to a square of `pad_to`."""
    torch.manual_seed(0)
    swin: dict[str, Any] = {"image_size": 32, "embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4}
    swin |= {"window_size": 4, "patch_size": 4, "out_features": ["stage1", "stage2", "stage3", "stage4"]}
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(**swin),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=6,
        id2label={0: "bench", 1: "remote", 2: "apple"},
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    size = {"shortest_edge": side_px, "longest_edge": 2 * side_px}
    padding: dict[str, Any] = {"pad_size": {"height": pad_to, "width": pad_to}, "size_divisor": 0} if pad_to else {}
    Mask2FormerImageProcessorPil(size=size, **padding).save_pretrained(folder)
    return folder
