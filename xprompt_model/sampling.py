"""How the next tokens are drawn from the logits of those that are allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_TEMPERATURE = 1e-5
"""Logits that are divided by less need not be float32 numbers any more."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature 0 takes the likeliest; of equally likely ones the first. Raises ValueError for other nonsense."""

    temperature: float = 1.0
    top_k: int = 0
    """Only the k likeliest are drawn from; 0: all."""
    top_p: float = 1.0
    """Only the fewest that have this probability together are drawn from."""
    guidance: float = 1.0
    """How far to go from what the images alone would give to what instruction, example and images give. 1: no
    guidance."""
    image_guidance: float = 1.0
    """How far to go from what nothing at all would give to what the images alone give. 1: no guidance."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.temperature + self.guidance + self.image_guidance):
            raise ValueError(f"temperature and guidance are finite numbers: {self}")
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature and top-k are at least 0, top-p is above 0 and at most 1: {self}")
        if 0 < self.temperature < LEAST_TEMPERATURE:
            raise ValueError(f"temperature is at least {LEAST_TEMPERATURE}, or 0 for the likeliest: {self}")

    def shares(self, *, images: bool) -> tuple[float, float, float]:
        """What the logits with everything, with the images alone, and with nothing are multiplied by, to be added up.

        nothing + image_guidance x (images alone - nothing) + guidance x (everything - images alone): the formula of
        InstructPix2Pix (https://arxiv.org/abs/2211.09800, section 3.2.1), as facebookresearch/chameleon has it in
        chameleon/inference/logits_processor.py. Without images, the images alone are nothing.
        """
        if not images:
            return self.guidance, 0.0, 1 - self.guidance
        return self.guidance, self.image_guidance - self.guidance, 1 - self.image_guidance

    def uniforms(self, seeds: Sequence[int], count: int) -> Tensor:
        """What decides `count` draws for each seed, [count, seeds] in [0, 1), float64.

        Made on the CPU, so that a seed means the same on each device, and for each seed by itself, so that it means
        the same beside others.
        """
        return torch.stack([_uniform(seed, count) for seed in seeds], 1)

    def draw(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Draw an index into each row of logits, [rows, n], by a number in [0, 1) for each row, [rows].

        All are on one device, and so is what is drawn. The n are in the order of their probability, one behind the
        other on a line; the number says where on the line.
        """
        if self.temperature == 0:
            return logits.argmax(1)
        scores, order = (logits / self.temperature).sort(dim=1, descending=True, stable=True)
        probabilities = scores.double().softmax(1)
        before = probabilities.cumsum(1) - probabilities
        kept = before < self.top_p
        if self.top_k:
            kept[:, self.top_k :] = False
        ends = (probabilities * kept).cumsum(1)
        place = torch.searchsorted(ends, uniform[:, None] * ends[:, -1:], right=True)
        return order.gather(1, place.minimum(kept.sum(1, keepdim=True) - 1))[:, 0]


def _uniform(seed: int, count: int) -> Tensor:
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


IMAGE = Sampling(temperature=0.7, top_p=0.9, guidance=3.0, image_guidance=1.2)
"""Meta's defaults for images: facebookresearch/chameleon, chameleon/inference/chameleon.py, `Options.Image`."""

TEXT = Sampling(temperature=0.7, top_p=0.9)
"""Meta's defaults for texts, `Options.Text` in the same file, less a penalty of 1.2 on what has been said before."""
