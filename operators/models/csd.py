"""CSD, the style descriptor of RB-Modulation: a CLIP vision tower with a style head and a content head.

"Measuring Style Similarity in Diffusion Models" (arXiv 2404.01292). Read from https://huggingface.co/yuxi-liu-wired/CSD
(MIT; a ViT-L/14 in OpenAI's parameter names). Every size is read off the weights, so a smaller tower loads as well.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.transforms import v2

from operators.models.device import loaded_once
from operators.shared.extras import need
from operators.shared.vision import clip_square

_BICUBIC = v2.InterpolationMode.BICUBIC

_HEAD_WIDTH = 64  # of every CLIP ViT: clip/model.py


class Csd(nn.Module):
    """The network. It turns images, N x 3 x H x W in [0, 1], into their style and content descriptors.

    Descriptors are two N x d tensors, with rows of length 1. They are differentiable in the images.
    """

    style: torch.Tensor
    content: torch.Tensor

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        tower = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
        width, _, patch_px, _ = tower["conv1.weight"].shape
        self.side_px = patch_px * round((len(tower["positional_embedding"]) - 1) ** 0.5)
        clip = need("open_clip.transformer")
        self.tower = clip.VisionTransformer(
            image_size=self.side_px,
            patch_size=patch_px,
            width=width,
            layers=sum(name.endswith(".attn.in_proj_weight") for name in tower),
            heads=width // _HEAD_WIDTH,
            mlp_ratio=len(tower["transformer.resblocks.0.mlp.c_fc.weight"]) / width,
            output_dim=width,
            act_layer=clip.QuickGELU,
        )
        self.tower.proj = None  # the heads take its place
        self.tower.load_state_dict(tower)
        self.register_buffer("style", state["last_layer_style"])
        self.register_buffer("content", state["last_layer_content"])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Products of matrices all through: on a GPU other ways to resize and to attend have gradients that add up in
        # no fixed order.
        with sdpa_kernel(SDPBackend.MATH):
            return self.describe(clip_square(_resized(images, self.side_px), self.side_px))

    def describe(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The style and content descriptors of images that `operators.shared.vision.clip_input` has prepared."""
        features = self.tower(seen)
        return functional.normalize(features @ self.style), functional.normalize(features @ self.content)


def _resized(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """The images with their shorter side resized to `side_px`, as v2.functional.resize does it."""
    height_px, width_px = images.shape[-2:]
    shorter_px = min(height_px, width_px)
    rows, columns = (_weights(side, side_px * side // shorter_px).to(images) for side in (height_px, width_px))
    resized: torch.Tensor = rows @ images @ columns.T
    return resized


@lru_cache(maxsize=8)
def _weights(side_px: int, resized_px: int) -> torch.Tensor:
    """The share that each pixel of a line has in each pixel of the resized line, resized_px x side_px."""
    lines = torch.eye(side_px)[None]
    weights: torch.Tensor = v2.functional.resize(lines, [resized_px, side_px], _BICUBIC, antialias=True)[0]
    return weights


@loaded_once(1)
def load_csd(folder: str, device: str) -> Csd:
    """Load the network from a folder's model.safetensors, for inference and for gradients with respect to images."""
    load: Any = need("safetensors.torch").load_file
    model = Csd(load(Path(folder, "model.safetensors")))
    return model.eval().requires_grad_(False).to(device)
