"""The numbers of RB-Modulation in stage C: noise schedule, guidance, stochastic optimal control, deterministic step.

arXiv 2405.17401, Algorithm 2: at each step the clean latents that the model expects, x0, are replaced by a z0 near
them whose picture has the reference's style, found by a few steps of gradient descent on the terminal cost; the noise
estimate stays as it was. Each function takes one picture's latents (1 x 16 x h x w), so that a picture does not depend
on what is made beside it. Parameters as the authors run it: notebook and gdf_rbm.py of
https://github.com/google/RB-Modulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from operators.models.rb.parameters import StageCSampling

_S = 0.008
"""Offset of the cosine schedule: arXiv 2102.09672, section 3.2; DDPMWuerstchenScheduler's default."""

_CLAMP = (0.0001, 0.9999)
"""The bounds of the signal's variance: DDPMWuerstchenScheduler._alpha_cumprod."""

_MIN_VARIANCE = math.cos(_S / (1 + _S) * math.pi / 2) ** 2

Descriptors = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Latents -> the style and content descriptors of their preview, 1 x d each, of length 1. Differentiable."""


def log_snr(times: torch.Tensor, shift: float) -> torch.Tensor:
    """Logarithm of signal to noise power at times in [0, 1], 1 being pure noise; `shift` > 1 adds noise everywhere.

    Cosine schedule; the shift is that of simple diffusion (arXiv 2301.11093, eq. 5): log SNR + 2 log(1 / shift).
    """
    variance = torch.cos((_S + times) / (1 + _S) * math.pi / 2) ** 2 / _MIN_VARIANCE
    return torch.logit(variance.clamp(*_CLAMP)) - 2 * math.log(shift)


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
    return (latents - torch.sigmoid(-log_snr_now).sqrt() * noise) / torch.sigmoid(log_snr_now).sqrt()


def renoised(clean: torch.Tensor, noise: torch.Tensor, log_snr_next: torch.Tensor) -> torch.Tensor:
    """The deterministic step (DDIM, arXiv 2010.02502, eq. 12 with sigma = 0): a clean + b noise."""
    return torch.sigmoid(log_snr_next).sqrt() * clean + torch.sigmoid(-log_snr_next).sqrt() * noise


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The terminal cost of clean latents z0, a scalar; lower is closer to the references.

    style |1 - cos(style(z0), style of the reference)| + content |1 - cos(content(z0), content of the reference)|
    + text mean((z0 - x0)^2). The content term counts only if there is a content reference.
    """

    describe: Descriptors
    style: torch.Tensor
    """1 x d, the reference's style descriptor."""
    content: torch.Tensor | None = None
    """1 x d, the reference's content descriptor."""
    style_weight: float
    content_weight: float
    text_weight: float

    def __call__(self, z0: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
        style, content = self.describe(z0)
        cost = self.style_weight * _distance(style, self.style) + self.text_weight * functional.mse_loss(z0, x0)
        if self.content is not None:
            cost = cost + self.content_weight * _distance(content, self.content)
        return cost


def _distance(descriptor: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    return (1 - functional.cosine_similarity(descriptor, reference)).abs().mean()


def controlled(x0: torch.Tensor, cost: Cost, rate: float, iterations: int) -> torch.Tensor:
    """z0: the latents after that many steps of Adam (its defaults, that learning rate) on the cost, from x0."""
    with torch.enable_grad():
        z0 = x0.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([z0], lr=rate)
        for _ in range(iterations):
            optimiser.zero_grad()
            cost(z0, x0).backward()
            optimiser.step()
    return z0.detach()


def sample(
    latents: torch.Tensor,
    predict: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    cost: Cost,
    sampling: StageCSampling,
) -> torch.Tensor:
    """Make stage C's clean latents out of noise.

    `predict` gives the noise in latents at a timestep ratio, conditional and unconditional. The result is the last
    step's z0, as the authors take it.
    """
    log_snrs = log_snr(torch.linspace(1, 0, sampling.steps + 1, device=latents.device), sampling.shift)
    clean = latents
    for step in range(sampling.steps):
        conditional, unconditional = predict(latents, timestep_ratio(log_snrs[step]))
        noise = guided(conditional, unconditional, sampling.guidance, sampling.rho)
        clean = expected(latents, noise, log_snrs[step])
        if step < sampling.tau and sampling.iterations:
            clean = controlled(clean, cost, sampling.eta * (1 - step / sampling.steps), sampling.iterations)
        latents = renoised(clean, noise, log_snrs[step + 1])
    return clean
