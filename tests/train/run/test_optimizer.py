"""What decays, and how the learning rate goes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.train.make import CONFIG
from train.run.optimizer import learning_rate, make_optimizer, set_learning_rate
from xprompt_model.model import XPromptChameleon


def test_matrices_decay_norms_and_xp_do_not() -> None:
    with torch.device("meta"):
        model = XPromptChameleon(CONFIG)
    decayed, others = make_optimizer(model, 1e-3, 0.1).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    kept = {names[id(parameter)] for parameter in others["params"]}
    assert "xp" in kept and "model.layers.0.self_attn.q_norm.weight" in kept and "model.norm.weight" in kept
    assert {names[id(parameter)] for parameter in decayed["params"]} == set(names.values()) - kept
    assert all(name == "xp" or "norm" in name for name in kept)


def test_warm_up_then_half_a_cosine() -> None:
    rates = [learning_rate(step, peak=2.0, warmup_steps=4, steps=24) for step in range(25)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[14] == pytest.approx(1.0) and rates[24] == pytest.approx(0.0)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_eight_bit_moments_learn_as_adamw_does() -> None:
    """Within the error of 8 bits, on matrices large enough to be kept in them."""
    updated = []
    for kind in ("adamw", "adamw8bit"):
        torch.manual_seed(0)
        layer = nn.Linear(64, 64, bias=False)
        before = layer.weight.detach().clone()
        optimizer = make_optimizer(layer, 0.1, 0.0, kind=kind)
        set_learning_rate(optimizer, 1e-3)
        for _ in range(3):
            layer.weight.grad = torch.randn(64, 64)
            optimizer.step()
        updated.append(layer.weight.detach() - before)
    assert type(optimizer.state[layer.weight]["exp_avg"]).__name__ == "OptimState8bit"
    assert 1e-4 < float(updated[0].abs().mean()) < 1e-2
    torch.testing.assert_close(updated[1], updated[0], atol=2e-4, rtol=0.1)


def test_frozen_parameters_are_not_updated() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[0].requires_grad_(False)
    (group,) = make_optimizer(model, 1e-3, 0.1).param_groups
    assert [id(each) for each in group["params"]] == [id(model[1].weight)]
