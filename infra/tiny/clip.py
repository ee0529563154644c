"""Tiny random checkpoints of what measures images: CLIP, CSD, DINO, LPIPS, the aesthetic head.

The features of a random network are nearly the same for all inputs. Its last projection is rid of the direction they
share, so that cosines between inputs differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from safetensors.torch import save_file
from torch import nn
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from operators.shared.vision import CLIP_MEAN, CLIP_STD

_SIDE_PX, _PATCH_PX, _WIDTH = 224, 32, 64  # the sides are those of the published models

_SHARED = 3
"""Directions that are projected out: the mean, and what brightness does."""

_TEXTS = ("a cat", "a red house by the sea", "two dogs", "an oil painting", "mountains at night", "a bowl of fruit")


def write_csd(folder: Path) -> None:
    """Write CSD in OpenAI's parameter names, as the published one has them."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tower = VisionTransformer(_SIDE_PX, _PATCH_PX, _WIDTH, 2, 1, 4.0, output_dim=_WIDTH, act_layer=QuickGELU)
    heads = [torch.randn(_WIDTH, _WIDTH // 2) for _ in range(2)]
    with torch.no_grad():
        tower.proj = None
        _liven(tower)
        features = tower(_pictures())
        state = {f"backbone.{name}": value for name, value in tower.state_dict().items()}
        for name, head in zip(("last_layer_style", "last_layer_content"), heads, strict=True):
            state[name] = _centred(head, features)
    save_file(state, folder / "model.safetensors")


def write_clip(folder: Path) -> None:
    """Write a ViT-B-32 in open_clip's `local-dir:` layout."""
    _write_open_clip(folder, "vit_base_patch32_clip_224.openai")


def write_dino(folder: Path) -> None:
    torch.manual_seed(0)
    model = ViTModel(
        ViTConfig(
            hidden_size=_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * _WIDTH,
            image_size=_SIDE_PX,
            patch_size=_PATCH_PX,
        ),
        add_pooling_layer=False,
    )
    with torch.no_grad():
        model.embeddings.patch_embeddings.projection.weight.mul_(20)
        mean = model(_pictures()).last_hidden_state[:, 0].mean(0)
        model.layernorm.bias.sub_(mean.bfloat16())
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": _SIDE_PX, "width": _SIDE_PX}).save_pretrained(folder)


def write_lpips(folder: Path) -> None:
    """Write AlexNet's convolutions and the linear heads of LPIPS 0.1, in the two published files' names.

    The library has one architecture, so they are full-sized; in bfloat16 they take half the room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    channels = (3, 64, 192, 384, 256, 256)
    layers = {0: 11, 3: 5, 6: 3, 8: 3, 10: 3}  # index in torchvision's AlexNet.features -> kernel
    state: dict[str, torch.Tensor] = {}
    heads: dict[str, torch.Tensor] = {}
    for number, (index, kernel) in enumerate(layers.items()):
        convolution = nn.Conv2d(channels[number], channels[number + 1], kernel)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        state |= {f"features.{index}.{name}": value.data.bfloat16() for name, value in convolution.named_parameters()}
        heads[f"lin{number}.model.1.weight"] = torch.rand(1, channels[number + 1], 1, 1).bfloat16()
    torch.save(state, folder / "alexnet-owt-7be5be79.pth")
    torch.save(heads, folder / "alex.pth")


def write_aesthetic(folder: Path) -> None:
    """Write the predictor's MLP, with narrower layers, and the CLIP ViT-L/14 whose image features it rates."""
    _write_open_clip(folder / "ViT-L-14", "vit_large_patch14_clip_224.openai")
    torch.manual_seed(0)
    sizes = {0: 32, 2: 16, 4: 8, 6: 4, 7: 1}  # index among dropouts -> outputs; the first takes _WIDTH // 2
    state: dict[str, torch.Tensor] = {}
    before = _WIDTH // 2
    for index, after in sizes.items():
        layer = nn.Linear(before, after)
        layer.weight.data.mul_(4)
        state |= {f"layers.{index}.{name}": value.data for name, value in layer.named_parameters()}
        before = after
    state["layers.7.bias"] = torch.tensor([5.0])  # scores lie about the middle of 1 to 10
    torch.save(state, folder / "sac+logos+ava1-l14-linearMSE.pth")


def _write_open_clip(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "embed_dim": _WIDTH // 2,
        "quick_gelu": True,
        "vision_cfg": {"image_size": _SIDE_PX, "layers": 2, "width": _WIDTH, "patch_size": _PATCH_PX},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 2},
    }
    model = open_clip.CLIP(**sizes).eval()
    with torch.no_grad():
        model.token_embedding.weight.mul_(50)
        model.positional_embedding.mul_(50)
        _liven(model.visual)
        features = _before(model.visual, lambda: model.encode_image(_pictures()))
        model.visual.proj.copy_(_centred(model.visual.proj, features))
        texts = _before(model, lambda: model.encode_text(open_clip.get_tokenizer("ViT-B-32")(_TEXTS)))
        model.text_projection.copy_(_centred(model.text_projection, texts))
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": sizes, "preprocess_cfg": preprocess, "pretrained_cfg": {"hf_hub_id": name}}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")


def _pictures() -> torch.Tensor:
    """Coloured noise of several scales, contrasts and brightnesses, 48 x 3 x 224 x 224, normalised as CLIP's input."""
    generator = torch.Generator().manual_seed(1)
    pictures = torch.zeros(48, 3, _SIDE_PX, _SIDE_PX)
    for cells in (3, 8, 24, 64):
        coarse = torch.rand((48, 3, cells, cells), generator=generator) - 0.5
        strength = torch.rand((48, 1, 1, 1), generator=generator)
        pictures += strength * nn.functional.interpolate(coarse, size=_SIDE_PX, mode="bicubic")
    pictures = (pictures + torch.rand((48, 3, 1, 1), generator=generator)).clamp(0, 1)
    normalised: torch.Tensor = (pictures - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[
        :, None, None
    ]
    return normalised


def _liven(tower: nn.Module) -> None:
    """Let the image be heard among the positions and the class token."""
    convolution = tower.conv1
    assert isinstance(convolution, nn.Conv2d)
    convolution.weight.mul_(8)


def _before(module: Any, run: Callable[[], torch.Tensor]) -> torch.Tensor:
    """What a tower's projection is applied to, n x width: with the identity in its place."""
    name = "proj" if hasattr(module, "proj") else "text_projection"
    projection = getattr(module, name)
    setattr(module, name, nn.Parameter(torch.eye(len(projection))))
    features = run()
    setattr(module, name, projection)
    return features


def _centred(projection: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """A projection, width x d, that is blind to the directions which features, n x width, share most."""
    directions = torch.linalg.svd(features.double(), full_matrices=False).Vh[:_SHARED]
    # Rounded, so that the order of summation, which depends on the number of threads, does not show.
    shared = (directions.T @ (directions @ projection.double())).bfloat16()
    blind: torch.Tensor = (projection - shared).float()
    return blind
