"""How the next token is drawn from the logits of those that are allowed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature 0 takes the likeliest; of equally likely ones the first. Raises ValueError for other nonsense."""

    temperature: float = 1.0
    top_k: int = 0
    """Only the k likeliest are drawn from; 0: all."""
    top_p: float = 1.0
    """Only the fewest that have this probability together are drawn from."""
    guidance: float = 1.0
    """Classifier-free guidance: unconditional logits + guidance x (conditional - unconditional). 1: none."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"temperature and top-k are at least 0, top-p is above 0 and at most 1: {self}")

    def generator(self) -> torch.Generator:
        """The source of random draws, on the CPU, so that a seed means the same on each device."""
        return torch.Generator().manual_seed(self.seed)

    def draw(self, logits: Tensor, generator: torch.Generator) -> int:
        """Draw an index into logits, [n]."""
        if self.temperature == 0:
            return int(logits.argmax())
        scores, order = (logits.double().cpu() / self.temperature).sort(descending=True, stable=True)
        probabilities = scores.softmax(0)
        before = probabilities.cumsum(0) - probabilities
        kept = (before < self.top_p) & (torch.arange(len(order)) < (self.top_k or len(order)))
        return int(order[torch.multinomial(probabilities * kept, 1, generator=generator)])
