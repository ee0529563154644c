"""Stable Cascade as RB-Modulation needs it: diffusers' two pipelines, and two small networks that diffusers leaves out.

Stage C's latents are the output of an EfficientNet, which encodes a reference image, and a previewer decodes them to a
small image without stages B and A. Both are files of https://huggingface.co/stabilityai/stable-cascade; their layers
are as in modules/effnet.py and modules/previewer.py of https://github.com/Stability-AI/StableCascade. Widths and
depths are read off the weights, so smaller networks load as well. What no file of weights holds is stated here: the
epsilon of the EfficientNet's batch norms, and the scale of stage A's latents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig
from torchvision.transforms import v2

from operators.models.device import loaded_once
from operators.shared.extras import need

EFFNET_FILE, PREVIEWER_FILE = "effnet_encoder.safetensors", "previewer.safetensors"
"""Files of the two networks, in the decoder's folder as on the hub."""

LATENT_CHANNELS = 16
"""Channels of stage C's latents: configs/inference/stage_c_3b.yaml."""

REFERENCE_SCALE = 0.75
"""Side of a reference, as it is shown to networks, to that of the picture that is made. The EfficientNet divides by 32,
and a picture of 1,024 px has 24 x 24 latents: so 768 px, as inference/utils.py (resize_image) of StableCascade."""

STAGE_A_SCALE = 0.43
"""What stage A multiplies stage B's latents by: modules/stage_a.py of StableCascade. Its config in diffusers' form is
Wuerstchen's, with another scale, 0.3764 (diffusers, scripts/convert_stable_cascade.py), and is not read for it."""

STAGE_A_DOWN = 4
"""Side of a picture to that of stage B's latents: inference/utils.py (calculate_latent_sizes) of StableCascade."""

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's, for its EfficientNet

STAGES = ((True, 1, 1), (True, 4, 2), (True, 4, 2), (False, 4, 2), (False, 6, 1), (False, 6, 2))
"""EfficientNetV2-S: whether a stage's blocks are fused, expansion, stride (arXiv 2104.00298, Tab. 4). Kernels are 3."""

_BACKBONE_EPS = 1e-3
"""Epsilon of the backbone's batch norms: torchvision's efficientnet_v2_s. That of the mapper's is PyTorch's own."""


def effnet_backbone(widths: Sequence[int], blocks: Sequence[int], last_channel: int) -> nn.Sequential:
    """The layers of an EfficientNetV2-S of other widths and depths.

    `widths` are the channels of the stem and of each of the six STAGES, `blocks` the number of blocks of each stage.
    """
    stages = [
        (FusedMBConvConfig if fused else MBConvConfig)(expansion, 3, stride, before, after, count)
        for (fused, expansion, stride), before, after, count in zip(
            STAGES, widths[:-1], widths[1:], blocks, strict=True
        )
    ]
    norm = partial(nn.BatchNorm2d, eps=_BACKBONE_EPS)
    network = EfficientNet(stages, dropout=0.0, stochastic_depth_prob=0.0, last_channel=last_channel, norm_layer=norm)
    layers: nn.Sequential = network.features
    return layers


class Effnet(nn.Module):
    """References, N x 3 x H x W in [0, 1], to stage C's latents, N x 16 x H/32 x W/32, sides rounded up."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        widths, blocks = [state["backbone.0.0.weight"].shape[0]], []
        for index in range(1, len(STAGES) + 1):
            blocks.append(len({name.split(".")[2] for name in state if name.startswith(f"backbone.{index}.")}))
            last = max(name for name in state if re.fullmatch(rf"backbone\.{index}\.0\.block\.\d\.0\.weight", name))
            widths.append(state[last].shape[0])
        last_channel = state["mapper.0.weight"].shape[1]
        self.backbone = effnet_backbone(widths, blocks, last_channel)
        self.mapper = nn.Sequential(
            nn.Conv2d(last_channel, LATENT_CHANNELS, 1, bias=False), nn.BatchNorm2d(LATENT_CHANNELS, affine=False)
        )
        self.load_state_dict(state)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        normalised = v2.functional.normalize(images, list(_IMAGENET_MEAN), list(_IMAGENET_STD))
        latents: torch.Tensor = self.mapper(self.backbone(normalised))
        return latents


class Previewer(nn.Module):
    """Stage C's latents, N x 16 x h x w, to small images, N x 3 x 8h x 8w, about in [0, 1]. Differentiable."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.blocks = previewer_blocks(state["blocks.0.weight"].shape[0])
        self.load_state_dict(state)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.blocks(latents)
        return images


def previewer_blocks(width: int) -> nn.Sequential:
    """The previewer's layers; `width` is 512 in the published one."""

    def then(layer: nn.Module, channels: int) -> list[nn.Module]:
        return [layer, nn.GELU(), nn.BatchNorm2d(channels)]

    half, quarter = width // 2, width // 4
    return nn.Sequential(
        *then(nn.Conv2d(LATENT_CHANNELS, width, 1), width),
        *then(nn.Conv2d(width, width, 3, padding=1), width),
        *then(nn.ConvTranspose2d(width, half, 2, 2), half),
        *then(nn.Conv2d(half, half, 3, padding=1), half),
        *then(nn.ConvTranspose2d(half, quarter, 2, 2), quarter),
        *then(nn.Conv2d(quarter, quarter, 3, padding=1), quarter),
        *then(nn.ConvTranspose2d(quarter, quarter, 2, 2), quarter),
        *then(nn.Conv2d(quarter, quarter, 3, padding=1), quarter),
        nn.Conv2d(quarter, 3, 1),
    )


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """What makes a picture: stage C (`prior`), stages B and A (`decoder`), both of diffusers, and the two networks."""

    prior: Any
    decoder: Any
    effnet: Effnet
    previewer: Previewer


@loaded_once(1)
def load_cascade(prior: str, decoder: str, device: str) -> Cascade:
    """Load Stable Cascade from the folders of its two repositories, in bfloat16 on a GPU, in float32 on a CPU."""
    diffusers, transformers = need("diffusers"), need("transformers")
    options = {"local_files_only": True, "dtype": torch.bfloat16 if device == "cuda" else torch.float32}
    # Piece by piece: its model_index.json names a module that diffusers 0.42 has moved, where the pipeline fails.
    pieces = {
        "decoder": diffusers.StableCascadeUNet,
        "scheduler": diffusers.DDPMWuerstchenScheduler,
        "text_encoder": transformers.CLIPTextModelWithProjection,
        "tokenizer": transformers.CLIPTokenizer,
        "vqgan": need("diffusers.pipelines.deprecated.wuerstchen").PaellaVQModel,
    }
    loaded = {
        name: kind.from_pretrained(decoder, subfolder=name, **(options if hasattr(kind, "dtype") else {}))
        for name, kind in pieces.items()
    }
    pipes = (
        diffusers.StableCascadePriorPipeline.from_pretrained(prior, **options),
        diffusers.StableCascadeDecoderPipeline(**loaded),
    )
    for pipe in pipes:
        pipe.set_progress_bar_config(disable=True)
        pipe.to(device)
    load = need("safetensors.torch").load_file
    networks = (Effnet(load(Path(decoder, EFFNET_FILE))), Previewer(load(Path(decoder, PREVIEWER_FILE))))
    effnet, previewer = (network.eval().requires_grad_(False).to(device) for network in networks)
    assert isinstance(effnet, Effnet) and isinstance(previewer, Previewer)
    return Cascade(prior=pipes[0], decoder=pipes[1], effnet=effnet, previewer=previewer)
