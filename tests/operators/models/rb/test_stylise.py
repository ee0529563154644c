"""RB-Modulation on a tiny Stable Cascade: does it do what it optimises?"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from manifests.images.pixels import Pixels
from operators.models.cascade import Cascade, load_cascade
from operators.models.csd import Csd, load_csd
from operators.models.rb import sampling as rb_sampling
from operators.models.rb import stylise
from operators.models.rb.parameters import STAGE_B, StageCSampling
from operators.shared.vision import tensor
from tests.sources import photo

STYLE, OTHER, CONTENT = (photo(index, 128, 128) for index in (0, 1, 2))
FEW = StageCSampling(steps=8)


@pytest.fixture(scope="module")
def models(tiny: str) -> tuple[Cascade, Csd]:
    torch.set_num_threads(1)
    return load_cascade(f"{tiny}/stable-cascade-prior", f"{tiny}/stable-cascade", "cpu"), load_csd(f"{tiny}/csd", "cpu")


@pytest.mark.parametrize("style", [STYLE, OTHER], ids=["astronaut", "cat"])
def test_control_brings_the_style_nearer_than_the_same_run_without_it(
    models: tuple[Cascade, Csd], style: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the descriptor of the final latents' preview, which is what the control minimises the distance of."""
    without, _ = _similarity(models, style, None, StageCSampling(steps=8, iterations=0), monkeypatch)
    with_control, _ = _similarity(models, style, None, FEW, monkeypatch)
    assert with_control > without + 0.1
    assert with_control > 0.7


def test_with_a_content_reference_both_come_nearer(
    models: tuple[Cascade, Csd], monkeypatch: pytest.MonkeyPatch
) -> None:
    without = _similarity(models, STYLE, CONTENT, StageCSampling(steps=8, iterations=0), monkeypatch)
    with_control = _similarity(models, STYLE, CONTENT, FEW, monkeypatch)
    assert sum(with_control) > sum(without) + 0.1


def test_prompt_seed_style_and_content_all_show_and_nothing_else_does(models: tuple[Cascade, Csd]) -> None:
    changes: dict[str, dict[str, Any]] = {
        "first": {},
        "again": {},
        "seed": {"seed": 1},
        "prompt": {"prompt": "a red house on a hill"},
        "style": {"style": OTHER},
        "content": {"content": CONTENT},
        "plain attention": {"aggregate": False},
    }
    made = {name: _make(models, sampling=StageCSampling(steps=4), **change) for name, change in changes.items()}
    assert np.array_equal(made["first"], made.pop("again"))
    first = made.pop("first").astype(float)
    assert first.shape == (128, 128, 3) and first.std() > 10
    for name, image in made.items():
        assert np.abs(image - first).mean() > 0.5, name


@pytest.mark.parametrize("with_content", [False, True])
def test_the_mode_is_the_references(
    models: tuple[Cascade, Csd], with_content: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A content reference takes the alignment with the text from the cost, and gives the sampler fresh noise (DDPM)."""
    given: list[dict[str, Any]] = []

    def keep(*arguments: Any, **named: Any) -> torch.Tensor:
        given.append(named)
        return rb_sampling.sample(*arguments, **named)

    monkeypatch.setattr(stylise, "sample", keep)
    seen: list[torch.Size] = []
    hook = models[0].effnet.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    once = replace(FEW, steps=1)
    _make(models, style=photo(0, 200, 150), content=photo(2, 128, 128) if with_content else None, sampling=once)
    hook.remove()
    cost = given[0]["control"].cost
    assert asdict(cost.weights) == {"style": 1, "content": float(with_content), "text": float(not with_content)}
    assert (cost.content is not None) is (given[0]["generator"] is not None) is with_content
    # A reference's shorter side is three quarters of the picture's, as 768 px are for one of 1,024.
    assert seen == [torch.Size((1, 3, 96, 96))] * with_content + [torch.Size((1, 3, 96, 128))]


def test_the_attention_is_put_back(models: tuple[Cascade, Csd]) -> None:
    attentions = [module for module in models[0].prior.prior.modules() if type(module).__name__ == "Attention"]
    before = [attention.processor for attention in attentions]
    _make(models, sampling=StageCSampling(steps=1))
    assert [attention.processor for attention in attentions] == before


def _make(models: tuple[Cascade, Csd], **change: Any) -> Pixels:
    settings: dict[str, Any] = {"prompt": "a cat", "style": STYLE, "content": None, "seed": 0, "sampling": FEW} | change
    return stylise.stylise(*models, decoding=STAGE_B, size_px=(128, 128), **settings)


def _similarity(
    models: tuple[Cascade, Csd],
    style: Pixels,
    content: Pixels | None,
    sampling: StageCSampling,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[float, float]:
    """Cosines of the final latents' preview: of its style with the reference's, of its content with its own's."""
    cascade, csd = models
    kept: list[torch.Tensor] = []

    def keep(*arguments: Any, **named: Any) -> torch.Tensor:
        kept.append(rb_sampling.sample(*arguments, **named))
        return kept[0]

    with monkeypatch.context() as patch:
        patch.setattr(stylise, "sample", keep)
        _make(models, style=style, content=content, sampling=sampling)
    found = csd(cascade.previewer(kept[0]))
    wanted_style = _described(models, style)[0]
    wanted_content = _described(models, content if content is not None else style)[1]
    return float((found[0] * wanted_style).sum()), float((found[1] * wanted_content).sum())  # all of length 1


def _described(models: tuple[Cascade, Csd], reference: Pixels) -> tuple[torch.Tensor, torch.Tensor]:
    """The descriptors of a reference's preview, as it is shown for a picture of 128 px."""
    cascade, csd = models
    shown = functional.resize(tensor(reference, "cpu"), [96], InterpolationMode.BILINEAR, antialias=True)
    style, content = csd(cascade.previewer(cascade.effnet(shown)))
    return style, content
