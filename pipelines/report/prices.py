"""What a vision-language model costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a model costs, in the currency that the user thinks in."""

    per_million_in: float
    per_million_out: float

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        return (tokens_in * self.per_million_in + tokens_out * self.per_million_out) / 1e6
