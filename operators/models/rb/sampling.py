"""How stages C and B of Stable Cascade are sampled: noise schedule, guidance, and a step towards less noise.

As the authors of Stable Cascade and of RB-Modulation do it: gdf/ of https://github.com/Stability-AI/StableCascade, and
gdf_rbm.py of https://github.com/google/RB-Modulation. diffusers' pipelines differ from them: they shift no schedule, do
not rescale the guidance, and round the time that a network is told to its own precision. Each function takes one
picture's latents (1 x c x h x w), so that a picture does not depend on what is made beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch

from operators.models.rb.parameters import Sampling

_S = 0.008
"""Offset of the cosine schedule: arXiv 2102.09672, section 3.2; gdf/schedulers.py (CosineSchedule)."""

_CLAMP = (0.0001, 0.9999)
"""The bounds of the signal's variance: train/train_c.py and train_b.py of StableCascade (clamp_range)."""

_LIMITS = tuple(math.log(variance / (1 - variance)) for variance in _CLAMP)
"""The bounds of the log SNR, shifted or not: gdf/schedulers.py (BaseSchedule.__call__) clamps after the shift."""

_MIN_VARIANCE = math.cos(_S / (1 + _S) * math.pi / 2) ** 2

Predict = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Latents, and the time that the network is told (float64, no dimension) -> the noise in them, conditional and
unconditional."""


def predicting(network: Any, conditions: Mapping[str, torch.Tensor]) -> Predict:
    """What a stage's network predicts under conditions, tensors of two rows: with the condition, and without."""

    def predict(latents: torch.Tensor, ratio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with mixed_precision(network):
            both = network(
                sample=latents.repeat(2, 1, 1, 1),
                timestep_ratio=ratio.float().to(latents.device).expand(2),
                **conditions,
                return_dict=False,
            )[0].float()
        return both[:1], both[1:]

    return predict


def mixed_precision(network: Any) -> torch.autocast:
    """The context in which the authors run networks: weights in bfloat16, what goes in and its norms in float32.

    The time above all has more digits than bfloat16: a network is told its ten-thousandths. Weights in float32 are used
    as they are.
    """
    return torch.autocast(network.device.type, torch.bfloat16, enabled=network.dtype is torch.bfloat16)


def log_snr(times: torch.Tensor, shift: float) -> torch.Tensor:
    """Logarithm of signal to noise power at times in [0, 1], 1 being pure noise; `shift` > 1 adds noise everywhere.

    Cosine schedule; the shift is that of simple diffusion (arXiv 2301.11093, eq. 5): log SNR + 2 log(1 / shift). The
    result is bounded again after it, by what the unshifted schedule has at both ends. In float64.
    """
    variance = torch.cos((_S + times.double()) / (1 + _S) * math.pi / 2) ** 2 / _MIN_VARIANCE
    shifted = torch.logit(variance.clamp(*_CLAMP)) - 2 * math.log(shift)
    return shifted.clamp(*_LIMITS)


def timestep_ratio(log_snrs: torch.Tensor) -> torch.Tensor:
    """The time that the network is told: at which an unshifted schedule has this log SNR."""
    variance = torch.sigmoid(log_snrs) * _MIN_VARIANCE
    return variance.sqrt().acos() / (math.pi / 2) * (1 + _S) - _S


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float, rho: float) -> torch.Tensor:
    """Classifier-free guidance, rescaled to the conditional one's deviation: arXiv 2305.08891, eq. 14-16."""
    prediction = torch.lerp(unconditional, conditional, scale)
    rescaled = prediction * conditional.std() / (prediction.std() + 1e-9)
    return rho * rescaled + (1 - rho) * prediction


def expected(latents: torch.Tensor, noise: torch.Tensor, log_snr_now: torch.Tensor) -> torch.Tensor:
    """The clean latents that latents and the predicted noise in them imply (Tweedie): (x - b noise) / a."""
    a_now, b_now = _scales(log_snr_now)
    return (latents - b_now * noise) / a_now


def renoised(
    clean: torch.Tensor,
    noise: torch.Tensor,
    log_snr_now: torch.Tensor,
    log_snr_next: torch.Tensor,
    fresh: torch.Tensor | None = None,
) -> torch.Tensor:
    """The clean latents with as much noise as there is to be next.

    Without fresh noise the predicted noise is all of it (DDIM, arXiv 2010.02502, eq. 12 with sigma = 0). With it, it
    takes the place of a share of the predicted one, so that the step is DDPM's (eq. 16 with eta = 1).
    """
    a_next, b_next = _scales(log_snr_next)
    if fresh is None:
        return a_next * clean + b_next * noise
    a_now, b_now = _scales(log_snr_now)
    variance = (b_next / b_now) ** 2 * (1 - (a_now / a_next) ** 2)
    return a_next * clean + (b_next**2 - variance).sqrt() * noise + variance.sqrt() * fresh


def _scales(log_snr_then: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What clean latents and noise are multiplied by to have this log SNR; the squares add up to 1."""
    return torch.sigmoid(log_snr_then).sqrt(), torch.sigmoid(-log_snr_then).sqrt()


def noise_like(latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise of the latents' shape, drawn on the CPU, so that every device gets the same."""
    return torch.randn(latents.shape, generator=generator).to(latents.device)


def sample(
    latents: torch.Tensor,
    predict: Predict,
    sampling: Sampling,
    *,
    generator: torch.Generator | None = None,
    control: Callable[[torch.Tensor, int], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Make clean latents out of noise.

    With a generator each step adds fresh noise (DDPM); without one, none (DDIM). `control` may change the clean latents
    that a step expects, given the step's number. The result is what the last step expects, as the authors take it.
    """
    times = torch.linspace(1, 0, sampling.steps + 1, dtype=torch.float64)
    clean = latents
    for step, (now, after) in enumerate(pairwise(log_snr(times, sampling.shift))):
        conditional, unconditional = predict(latents, timestep_ratio(now))
        noise = guided(conditional, unconditional, sampling.guidance, sampling.rho)
        clean = expected(latents, noise, now)
        if control:
            clean = control(clean, step)
        fresh = noise_like(latents, generator) if generator else None
        latents = renoised(clean, noise, now, after, fresh)
    return clean
