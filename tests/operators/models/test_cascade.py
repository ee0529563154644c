from __future__ import annotations

import torch
from torchvision.models import efficientnet_v2_s

from operators.models.cascade import Effnet, Previewer, load_cascade, previewer_blocks


def test_both_repositories_load_and_fit_together(tiny: str) -> None:
    cascade = load_cascade(f"{tiny}/stable-cascade-prior", f"{tiny}/stable-cascade", "cpu")
    assert type(cascade.prior).__name__ == "StableCascadePriorPipeline"
    assert type(cascade.decoder).__name__ == "StableCascadeDecoderPipeline"
    torch.manual_seed(0)
    latents = cascade.effnet(torch.rand(2, 3, 128, 256))
    assert latents.shape == (2, 16, 3, 6)
    assert 0.3 < latents.std() < 3
    previews = cascade.previewer(latents)
    assert previews.shape == (2, 3, 24, 48)
    assert (previews[0] - previews[1]).abs().mean() > 0.05


def test_the_published_networks_load() -> None:
    """EfficientNetV2-S as torchvision has it, and the previewer's 512 channels."""
    backbone = {f"backbone.{name}": value for name, value in efficientnet_v2_s().features.state_dict().items()}
    mapper = torch.nn.Sequential(torch.nn.Conv2d(1280, 16, 1, bias=False), torch.nn.BatchNorm2d(16, affine=False))
    effnet = Effnet(backbone | {f"mapper.{name}": value for name, value in mapper.state_dict().items()}).eval()
    with torch.no_grad():
        assert effnet(torch.rand(1, 3, 128, 128)).shape == (1, 16, 3, 3)
    Previewer({f"blocks.{name}": value for name, value in previewer_blocks(512).state_dict().items()})
