"""The control against its equations, written out again here."""

from __future__ import annotations

import pytest
import torch

from operators.models.rb.control import Control, Cost, controlled
from operators.models.rb.parameters import STYLE_ONLY, WITH_CONTENT, StageCSampling, Weights


@pytest.mark.parametrize("with_content", [False, True])
def test_the_control_is_adam_on_the_terminal_cost(with_content: bool) -> None:
    cost, describe = _cost(with_content)
    torch.manual_seed(1)
    x0 = torch.randn(1, 4, 2, 2)
    z0, first, second = x0.clone(), torch.zeros_like(x0), torch.zeros_like(x0)
    for step in range(1, 4):
        variable = z0.clone().requires_grad_()
        style, content = describe(variable)
        loss = 2.0 * (1 - style @ cost.style[0]).abs().sum() + 0.5 * ((variable - x0) ** 2).mean()
        if cost.content is not None:
            loss = loss + 3.0 * (1 - content @ cost.content[0]).abs().sum()
        (gradient,) = torch.autograd.grad(loss, variable)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        root = (second / (1 - 0.999**step)).sqrt() + 1e-8
        z0 = z0 - 0.05 * first / (1 - 0.9**step) / root
    found = controlled(x0, cost, 0.05, 3)
    torch.testing.assert_close(found, z0, atol=1e-6, rtol=1e-5)
    assert not found.requires_grad
    assert cost(found, x0) < cost(x0, x0)


def test_a_style_alone_keeps_to_the_text_and_with_a_content_it_is_left_to_that() -> None:
    """By hand: style 1, alignment with the text 1 without a content; style 1, content 1 and no alignment with one."""
    style, content = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.0, 1.0]])
    z0, x0 = torch.full((1, 4, 2, 2), 0.5), torch.zeros(1, 4, 2, 2)

    def describe(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([[1.0, 0.0]]), torch.tensor([[0.8, 0.6]])

    alone = Cost(describe=describe, style=style, weights=STYLE_ONLY.weights)
    both = Cost(describe=describe, style=style, content=content, weights=WITH_CONTENT.weights)
    assert float(alone(z0, x0)) == pytest.approx((1 - 0.6) + 0.25)
    assert float(both(z0, x0)) == pytest.approx((1 - 0.6) + (1 - 0.6))


def test_the_first_tau_steps_are_controlled_at_falling_rates() -> None:
    cost, _ = _cost(True)
    clean = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(2))
    control = Control(cost=cost, sampling=StageCSampling(steps=5, tau=3, iterations=1, eta=0.2))
    moves = [float((control(clean, step) - clean).abs().max()) for step in range(5)]
    # Adam's first step is the rate, whatever the gradient.
    assert moves == pytest.approx([0.2, 0.16, 0.12, 0.0, 0.0], rel=1e-3)
    idle = Control(cost=cost, sampling=StageCSampling(steps=5, tau=3, iterations=0))
    assert torch.equal(idle(clean, 0), clean)


def _cost(with_content: bool):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    heads = torch.randn(2, 16, 6)

    def describe(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        style, content = (torch.nn.functional.normalize(latents.flatten(1) @ head) for head in heads)
        return style, content

    style, content = describe(torch.randn(1, 4, 2, 2))
    weights = Weights(style=2.0, content=3.0, text=0.5)
    return Cost(describe=describe, style=style, content=content if with_content else None, weights=weights), describe
