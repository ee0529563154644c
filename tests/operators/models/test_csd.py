from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from operators.models.csd import Csd, load_csd
from operators.shared.vision import clip_input, tensor
from tests.sources import photo


@pytest.mark.parametrize("sides", [(120, 90), (90, 121), (280, 250), (224, 224)])
def test_descriptors_are_the_heads_of_a_clip_tower_scaled_to_length_one(sides: tuple[int, int], tiny: str) -> None:
    csd = load_csd(f"{tiny}/csd", "cpu")
    images = torch.cat([tensor(photo(index, *sides), "cpu") for index in range(3)])
    style, content = csd(images)
    features = csd.tower(clip_input(images, csd.side_px))
    torch.testing.assert_close(style, functional.normalize(features @ csd.style))
    torch.testing.assert_close(content, functional.normalize(features @ csd.content))
    torch.testing.assert_close(style.norm(dim=1), torch.ones(3))
    assert (style @ style.T).min() < 0.95  # photos differ
    assert not torch.allclose(style, content)


def test_it_is_differentiable_in_the_images(tiny: str) -> None:
    csd = load_csd(f"{tiny}/csd", "cpu")
    image = tensor(photo(0, 120, 90), "cpu").requires_grad_()
    csd(image)[0][0, 0].backward()
    assert image.grad is not None and image.grad.abs().max() > 0


def test_the_published_sizes_are_read_off_the_weights() -> None:
    """ViT-L/14's widths and grid, with one layer of its 24."""
    width = 1024
    block = {
        "ln_1.weight": (width,), "ln_1.bias": (width,), "ln_2.weight": (width,), "ln_2.bias": (width,),
        "attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,),
    }  # fmt: skip
    shapes = {
        "conv1.weight": (width, 3, 14, 14), "class_embedding": (width,), "positional_embedding": (257, width),
        "ln_pre.weight": (width,), "ln_pre.bias": (width,), "ln_post.weight": (width,), "ln_post.bias": (width,),
        **{f"transformer.resblocks.0.{name}": shape for name, shape in block.items()},
    }  # fmt: skip
    state = {f"backbone.{name}": torch.zeros(shape) for name, shape in shapes.items()}
    csd = Csd(state | {f"last_layer_{name}": torch.zeros(width, 768) for name in ("style", "content")})
    assert csd.side_px == 224
