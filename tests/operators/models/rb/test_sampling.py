"""Each number against a table, another library, or the equations of a paper, written out again here."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMWuerstchenScheduler

from operators.models.rb.parameters import Sampling
from operators.models.rb.sampling import (
    expected,
    guided,
    log_snr,
    noise_like,
    predicting,
    renoised,
    sample,
    timestep_ratio,
)

TIMES = torch.linspace(0, 1, 21, dtype=torch.float64)[1:-1]  # the ends are clamped

LOG_SNRS = (
    -9.21024037, -6.48632041, -5.08779458, -4.2562435, -3.65150341, -3.16654569, -2.75319242, -2.38514467, -2.04598264,
    -1.72422768, -1.41092124, -1.09821168, -0.778321652, -0.442539377, -0.0798920409, 0.325062259, 0.796633538,
    1.37841997, 2.16426987, 3.43490479, 7.82394601,
)  # fmt: skip
"""Shifted by 2, at 20 steps from pure noise, to 40 digits by mpmath: log(v / (1 - v)) - 2 log 2 with the variance
v = cos(pi / 2 (t + 0.008) / 1.008)^2 / cos(pi / 2 0.008 / 1.008)^2 between 0.0001 and 0.9999, and the result between
-log(9999) and log(9999), which is where the first one lies: it would be -10.596535."""

TOLD = (
    0.993583264, 0.97496199, 0.949694528, 0.923961139, 0.897510974, 0.870070807, 0.841336047, 0.810960466, 0.778544431,
    0.743621658, 0.705645034, 0.663973134, 0.617861122, 0.566463417, 0.508861439, 0.44413761, 0.371523074, 0.290639711,
    0.201811595, 0.106265375, 0.007122239,
)  # fmt: skip
"""The times at which an unshifted schedule has these, in the same way."""


def test_the_shifted_schedule_is_bounded_after_the_shift() -> None:
    times = torch.linspace(1, 0, 21, dtype=torch.float64)
    found = log_snr(times, 2.0)
    torch.testing.assert_close(found, torch.tensor(LOG_SNRS, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(timestep_ratio(found), torch.tensor(TOLD, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_first_step_amplifies_the_predictions_error_a_hundredfold() -> None:
    """By sqrt(0.9999 / 0.0001), and not by the 200 of an unbounded schedule."""
    now = log_snr(torch.ones(1), 2.0)[0]
    noise = torch.zeros(1, 4, 2, 2)
    moved = expected(noise, noise + 1, now) - expected(noise, noise, now)
    torch.testing.assert_close(moved, torch.full_like(moved, -99.994999875), atol=1e-3, rtol=0)


def test_unshifted_it_is_diffusers_schedule_and_its_times() -> None:
    diffusers = DDPMWuerstchenScheduler()._alpha_cumprod(TIMES, TIMES.device)
    torch.testing.assert_close(torch.sigmoid(log_snr(TIMES, 1.0)), diffusers, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(timestep_ratio(log_snr(TIMES, 1.0)), TIMES, atol=1e-6, rtol=0)


def test_guidance_is_rescaled_by_its_share() -> None:
    torch.manual_seed(0)
    conditional, unconditional = torch.randn(2, 1, 16, 3, 3)
    plain = unconditional + 4 * (conditional - unconditional)
    wanted = 0.7 * plain * conditional.std() / plain.std() + 0.3 * plain
    torch.testing.assert_close(guided(conditional, unconditional, 4.0, 0.7), wanted)
    torch.testing.assert_close(guided(conditional, unconditional, 4.0, 0.0), plain)


def test_without_fresh_noise_the_step_is_ddims_and_knows_the_clean_latents_again() -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 1, 16, 3, 3)
    now, then = log_snr(torch.tensor([0.6, 0.5]), 2.0)
    a, b = _scales(now)
    assert a**2 + b**2 == pytest.approx(1)
    torch.testing.assert_close(expected(a * clean + b * noise, noise, now), clean, atol=1e-5, rtol=1e-5)
    a, b = _scales(then)
    torch.testing.assert_close(renoised(clean, noise, now, then), a * clean + b * noise, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("time", "after"), [(1.0, 0.95), (0.6, 0.5), (0.1, 0.05)])
def test_with_fresh_noise_the_step_is_ddpms_posterior(time: float, after: float) -> None:
    """arXiv 2006.11239, eq. 7: of the clean latents and the noisy ones, with beta-tilde as variance."""
    torch.manual_seed(0)
    clean, noise, fresh = torch.randn(3, 1, 16, 3, 3, dtype=torch.float64)
    now, then = log_snr(torch.tensor([time, after]), 2.0)
    noisy = math.sqrt(_signal(now)) * clean + math.sqrt(1 - _signal(now)) * noise
    alpha = _signal(now) / _signal(then)
    mean = math.sqrt(_signal(then)) * (1 - alpha) / (1 - _signal(now)) * clean
    mean = mean + math.sqrt(alpha) * (1 - _signal(then)) / (1 - _signal(now)) * noisy
    deviation = math.sqrt((1 - _signal(then)) / (1 - _signal(now)) * (1 - alpha))
    torch.testing.assert_close(renoised(clean, noise, now, then, fresh), mean + deviation * fresh, atol=1e-9, rtol=1e-9)


def test_where_the_bound_holds_two_steps_nothing_is_added() -> None:
    """Variance of the step, 1 - a^2 / a^2, is 0 then, and not the root of less."""
    now = torch.tensor(-math.log(9999), dtype=torch.float64)
    clean, noise, fresh = torch.randn(3, 1, 4, 2, 2)
    torch.testing.assert_close(renoised(clean, noise, now, now, fresh), 0.01 * clean + math.sqrt(0.9999) * noise)


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_sample_is_the_last_steps_clean_latents_each_controlled(stochastic: bool) -> None:
    """Against the loop, written out; DDPM as diffusers' scheduler steps, which knows no shift."""
    sampling = Sampling(guidance=4.0, shift=1.0, steps=5)
    start = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(2))
    told: list[float] = []

    def predict(latents: torch.Tensor, ratio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        told.append(float(ratio))
        return 0.9 * latents + 0.01, 0.8 * latents

    def made(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed) if stochastic else None
        return sample(start, predict, sampling, generator=generator, control=lambda clean, step: clean + 0.1 * step)

    x, generator, scheduler = start.double(), torch.Generator().manual_seed(7), DDPMWuerstchenScheduler()
    scheduler.set_timesteps(5)
    for step, time in enumerate((1.0, 0.8, 0.6, 0.4, 0.2)):
        plain = 0.8 * x + 4 * (0.9 * x + 0.01 - 0.8 * x)
        epsilon = 0.7 * plain * (0.9 * x + 0.01).std() / plain.std() + 0.3 * plain
        signal, after = (
            float(scheduler._alpha_cumprod(torch.tensor(at, dtype=torch.float64), x.device))
            for at in (time, time - 0.2)
        )
        x0 = (x - math.sqrt(1 - signal) * epsilon) / math.sqrt(signal) + 0.1 * step
        if not stochastic:
            x = math.sqrt(after) * x0 + math.sqrt(1 - after) * epsilon
        elif step < 4:
            # The control moves the clean latents: so there is another noisy picture, which the noise leads to.
            moved = math.sqrt(signal) * x0 + math.sqrt(1 - signal) * epsilon
            given = torch.tensor([time], dtype=torch.float32)
            stepped = scheduler.step(epsilon.float(), given, moved.float(), generator).prev_sample
            x = stepped.double()
    torch.testing.assert_close(made(7).double(), x0, atol=2e-4, rtol=1e-4)
    assert torch.equal(made(7), made(7))
    assert torch.equal(made(7), made(8)) is not stochastic
    assert told[:5] == pytest.approx([0.99358, 0.8, 0.6, 0.4, 0.2], abs=1e-3)


def test_noise_is_the_cpus_whatever_the_device() -> None:
    found = noise_like(torch.empty(1, 2, 3, 3), torch.Generator().manual_seed(5))
    assert torch.equal(found, torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_in_bfloat16_is_told_the_time_unrounded(dtype: torch.dtype) -> None:
    """Of which it sees the ten-thousandths: bfloat16 would make 0.9961 or 0.9922 of 0.99358."""
    seen: dict[str, Any] = {}

    class Network:
        device = torch.device("cpu")

        def __init__(self) -> None:
            self.dtype = dtype

        def __call__(self, **given: Any) -> tuple[torch.Tensor]:
            seen.update(given, mixed=torch.is_autocast_enabled("cpu"))
            return (torch.cat([given["sample"][:1] + 1, given["sample"][1:] + 2]).to(dtype),)

    condition = torch.zeros(2, 1, 3)
    latents = torch.zeros(1, 4, 2, 2)
    with_it, without = predicting(Network(), {"clip_text_pooled": condition})(
        latents, torch.tensor(0.993583264, dtype=torch.float64)
    )
    assert seen["timestep_ratio"].tolist() == pytest.approx([0.993583264] * 2, abs=1e-7)
    assert seen["sample"].dtype == torch.float32 and seen["clip_text_pooled"] is condition
    assert seen["mixed"] is (dtype is torch.bfloat16)
    assert (with_it == 1).all() and (without == 2).all() and with_it.dtype == without.dtype == torch.float32


def _signal(log_snr_then: torch.Tensor) -> float:
    """The share of the signal in the variance."""
    return 1 / (1 + math.exp(-float(log_snr_then)))


def _scales(log_snr_then: torch.Tensor) -> tuple[float, float]:
    return math.sqrt(_signal(log_snr_then)), math.sqrt(1 - _signal(log_snr_then))
