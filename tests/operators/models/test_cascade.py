from __future__ import annotations

import torch
from torchvision.models import efficientnet_v2_s

from operators.models.cascade import Effnet, Previewer, load_cascade, previewer_blocks
from operators.shared.vision import tensor
from tests.sources import photo


def test_both_repositories_load_and_fit_together(tiny: str) -> None:
    torch.set_num_threads(1)
    cascade = load_cascade(f"{tiny}/stable-cascade-prior", f"{tiny}/stable-cascade", "cpu")
    assert type(cascade.prior).__name__ == "StableCascadePriorPipeline"
    assert type(cascade.decoder).__name__ == "StableCascadeDecoderPipeline"
    latents = cascade.effnet(torch.cat([tensor(photo(index, 192, 96), "cpu") for index in (0, 1)]))
    assert latents.shape == (2, 16, 3, 6)
    assert 0.3 < latents.std() < 3
    previews = cascade.previewer(latents)
    assert previews.shape == (2, 3, 24, 48)
    assert (previews[0] - previews[1]).abs().mean() > 0.05


def test_the_encoder_is_torchvisions_with_the_epsilons_that_no_file_holds() -> None:
    """modules/effnet.py of StableCascade: efficientnet_v2_s, whose norms have 1e-3, then a norm that has 1e-5."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = efficientnet_v2_s().features
    mapper = torch.nn.Sequential(torch.nn.Conv2d(1280, 16, 1, bias=False), torch.nn.BatchNorm2d(16, affine=False))
    oracle = torch.nn.ModuleDict({"backbone": backbone, "mapper": mapper})
    norms = [module for module in oracle.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    images = torch.rand(4, 3, 64, 96)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normalised = (images - mean) / std
    with torch.no_grad():
        # Those of what passes through, so that nothing fades or explodes; then each channel's are moved.
        for norm in norms:
            norm.momentum = 1.0
        mapper(backbone(normalised))
        for norm in norms:
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.add_(torch.randn(norm.num_features) * 0.3 * norm.running_var.sqrt())
            norm.running_var.mul_(torch.empty(norm.num_features).uniform_(0.5, 2.0))
        oracle.eval()
        wanted = mapper(backbone(normalised))
        found = Effnet(oracle.state_dict()).eval()(images)
        assert found.shape == (4, 16, 2, 3) and wanted.std() > 0.1
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        # It would show: with PyTorch's epsilon the same weights say something else.
        for norm in norms:
            norm.eps = 1e-5
        assert (mapper(backbone(normalised)) - wanted).abs().max() > 0.01


def test_the_published_previewer_loads() -> None:
    """Its 512 channels."""
    Previewer({f"blocks.{name}": value for name, value in previewer_blocks(512).state_dict().items()})
