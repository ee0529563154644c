"""Each number against the equations, written out again here."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMWuerstchenScheduler

from operators.models.rb.control import (
    Cost,
    controlled,
    expected,
    guided,
    log_snr,
    renoised,
    sample,
    timestep_ratio,
)
from operators.models.rb.parameters import StageCSampling

TIMES = torch.linspace(0, 1, 21)[1:-1]  # the ends are clamped


def test_the_schedule_is_the_cosine_one_shifted_by_twice_the_logarithm() -> None:
    for shift in (1.0, 2.0):
        for time, found in zip(TIMES.tolist(), log_snr(TIMES, shift).tolist(), strict=True):
            signal = math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
            assert found == pytest.approx(math.log(signal / (1 - signal)) - 2 * math.log(shift), abs=2e-4)


def test_unshifted_it_is_diffusers_schedule_and_its_times() -> None:
    diffusers = DDPMWuerstchenScheduler()._alpha_cumprod(TIMES, TIMES.device)
    torch.testing.assert_close(torch.sigmoid(log_snr(TIMES, 1.0)), diffusers, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(timestep_ratio(log_snr(TIMES, 1.0)), TIMES, atol=1e-4, rtol=0)


def test_the_network_is_told_the_time_at_which_the_unshifted_schedule_is_as_noisy() -> None:
    told = timestep_ratio(log_snr(TIMES, 2.0))
    assert (told > TIMES).all()
    torch.testing.assert_close(log_snr(told, 1.0), log_snr(TIMES, 2.0), atol=1e-2, rtol=1e-3)


def test_guidance_is_rescaled_by_its_share() -> None:
    torch.manual_seed(0)
    conditional, unconditional = torch.randn(2, 1, 16, 3, 3)
    plain = unconditional + 4 * (conditional - unconditional)
    wanted = 0.7 * plain * conditional.std() / plain.std() + 0.3 * plain
    torch.testing.assert_close(guided(conditional, unconditional, 4.0, 0.7), wanted)
    torch.testing.assert_close(guided(conditional, unconditional, 4.0, 0.0), plain)


def test_the_step_is_ddims_and_knows_the_clean_latents_again() -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 1, 16, 3, 3)
    now, then = log_snr(torch.tensor([0.6, 0.5]), 2.0)
    a, b = (math.sqrt(1 / (1 + math.exp(sign * float(now)))) for sign in (-1, 1))
    assert a**2 + b**2 == pytest.approx(1)
    torch.testing.assert_close(expected(a * clean + b * noise, noise, now), clean, atol=1e-5, rtol=1e-5)
    a, b = (math.sqrt(1 / (1 + math.exp(sign * float(then)))) for sign in (-1, 1))
    torch.testing.assert_close(renoised(clean, noise, then), a * clean + b * noise, atol=1e-6, rtol=1e-5)


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


def test_sampling_controls_the_first_tau_steps_at_falling_rates_and_ends_with_the_last_clean_latents() -> None:
    cost, _ = _cost(True)
    torch.manual_seed(2)
    noise = torch.randn(1, 4, 2, 2)
    sampling = StageCSampling(steps=5, tau=3, iterations=2, eta=0.2)
    told: list[float] = []

    def predict(latents: torch.Tensor, ratio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        told.append(float(ratio))
        return 0.9 * latents + 0.01, 0.8 * latents

    found = sample(noise, predict, cost, sampling)
    x, levels = noise, [float(value) for value in log_snr(torch.linspace(1, 0, 6), 2.0)]
    for step in range(5):
        plain = 0.8 * x + 4 * (0.9 * x + 0.01 - 0.8 * x)
        epsilon = 0.7 * plain * (0.9 * x + 0.01).std() / plain.std() + 0.3 * plain
        a, b = (1 / (1 + math.exp(-levels[step]))) ** 0.5, (1 / (1 + math.exp(levels[step]))) ** 0.5
        x0 = (x - b * epsilon) / a
        if step < 3:
            x0 = controlled(x0, cost, 0.2 * (1 - step / 5), 2)
        x = (1 / (1 + math.exp(-levels[step + 1]))) ** 0.5 * x0
        x = x + (1 / (1 + math.exp(levels[step + 1]))) ** 0.5 * epsilon
    torch.testing.assert_close(found, x0, atol=1e-3, rtol=1e-3)
    assert len(told) == 5 and told == sorted(told, reverse=True)


def test_the_defaults_are_the_authors() -> None:
    assert vars(StageCSampling()) == {
        "guidance": 4.0,
        "rho": 0.7,
        "shift": 2.0,
        "steps": 20,
        "iterations": 3,
        "eta": 0.1,
        "tau": 20,
    }


def _cost(with_content: bool):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    heads = torch.randn(2, 16, 6)

    def describe(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        style, content = (torch.nn.functional.normalize(latents.flatten(1) @ head) for head in heads)
        return style, content

    style, content = describe(torch.randn(1, 4, 2, 2))
    weights = {"style_weight": 2.0, "content_weight": 3.0, "text_weight": 0.5}
    return Cost(describe=describe, style=style, content=content if with_content else None, **weights), describe
