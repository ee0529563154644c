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
from operators.shared.texts import need

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""By which CLIP's input is normalised: https://github.com/openai/CLIP, clip/clip.py."""

_BICUBIC = v2.InterpolationMode.BICUBIC

_HEAD_WIDTH = 64  # of every CLIP ViT: clip/model.py


class Csd(nn.Module):
    """Images, N x 3 x H x W in [0, 1], to their style and content descriptors: two N x d tensors of rows of length 1.

    Differentiable in the images.
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
            return self.describe(_normalised(_resized(images, self.side_px), self.side_px))

    def describe(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The descriptors of what `clip_input` makes of images."""
        features = self.tower(seen)
        return functional.normalize(features @ self.style), functional.normalize(features @ self.content)


def clip_input(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """N x 3 x H x W in [0, 1] as CLIP sees it: the shorter side resized (bicubic), the middle square, normalised."""
    return _normalised(v2.functional.resize(images, [side_px], _BICUBIC, antialias=True), side_px)


def _normalised(resized: torch.Tensor, side_px: int) -> torch.Tensor:
    square = v2.functional.center_crop(resized, [side_px, side_px])
    normalised: torch.Tensor = v2.functional.normalize(square, list(CLIP_MEAN), list(CLIP_STD))
    return normalised


def _resized(images: torch.Tensor, side_px: int) -> torch.Tensor:
    """The images with their shorter side resized to `side_px`, as v2.functional.resize does it."""
    height_px, width_px = images.shape[-2:]
    shorter_px = min(height_px, width_px)
    rows, columns = (_weights(side, side_px * side // shorter_px).to(images) for side in (height_px, width_px))
    resized: torch.Tensor = rows @ images @ columns.T
    return resized


@lru_cache(maxsize=8)
def _weights(side_px: int, resized_px: int) -> torch.Tensor:
    """What each pixel of a line is to each pixel of the resized line: resized_px x side_px."""
    lines = torch.eye(side_px)[None]
    weights: torch.Tensor = v2.functional.resize(lines, [resized_px, side_px], _BICUBIC, antialias=True)[0]
    return weights


@loaded_once(1)
def load_csd(folder: str, device: str) -> Csd:
    """The descriptor in a folder's model.safetensors, for inference and for gradients with respect to images."""
    load: Any = need("safetensors.torch").load_file
    model = Csd(load(Path(folder, "model.safetensors")))
    return model.eval().requires_grad_(False).to(device)
