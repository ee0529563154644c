"""The arm "averages": in place of what X-Prompt tokens have made of the example, averages over the example's tokens.

"A Silver Bullet or a Compromise for Full Attention? A Comprehensive Study of Gist Token-based Context Compression" is
why there is such an arm: plain means of neighbouring tokens are hard to beat.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xprompt_model.cache import Cache, KeyValues
from xprompt_model.layout import IE, XP
from xprompt_model.mask import Mask
from xprompt_model.model import XPromptChameleon


class AveragingChameleon(XPromptChameleon):
    """The shipped model; only, the keys and values of X-Prompt tokens are S averages over those of their example.

    Nothing is learned for them, and everything else is as in the arm "xprompt": layout, mask, positions.
    """

    def advance(
        self, ids: Tensor, segment: Tensor, position: Tensor, mask: Mask | None, cache: Cache | None = None
    ) -> Tensor:
        """As the shipped one, which it calls with a cache that averages, if X-Prompt tokens are among the tokens."""
        if (segment == XP).any():
            cache = _Averages(segment, cache)
        return super().advance(ids, segment, position, mask, cache)


class _Averages(KeyValues):
    """Keys and values as the layers make them, those of X-Prompt tokens aside. For one call of the model."""

    def __init__(self, segment: Tensor, then: Cache | None) -> None:
        """Of rows of one document each, with these segments, [n]. `then` is given what is averaged, to go on from."""
        super().__init__()
        self._then = then
        self._from, self._to = (torch.nonzero(segment == part)[:, 0] for part in (IE, XP))
        self._weights = bins(len(self._to), len(self._from)).to(segment.device)

    def update(self, keys: Tensor, values: Tensor, layer: int, **_: object) -> tuple[Tensor, Tensor]:
        """A layer's keys and values with those of X-Prompt tokens replaced."""
        replaced = [
            each.index_copy(2, self._to, self._weights.to(each) @ each[:, :, self._from]) for each in (keys, values)
        ]
        if self._then is not None:
            self._then.update(replaced[0], replaced[1], layer)
        return replaced[0], replaced[1]


def bins(averages: int, tokens: int) -> Tensor:
    """The share of each token in each of so many averages, [averages, tokens]: runs of neighbours, as equal as can be.

    Where there are more averages than tokens, neighbouring averages are of the same token.
    """
    shares = np.zeros((averages, tokens), np.float32)
    for place in range(averages):
        first, last = place * tokens // averages, -(-(place + 1) * tokens // averages)
        shares[place, first:last] = 1 / (last - first)
    return torch.from_numpy(shares)
