from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from operators.models.rb.attention import AggregatedAttention

HEADS, CHANNELS, REFERENCE = 2, 8, 4


@pytest.mark.parametrize(("references", "seen"), [(1, ["t", "s", "ts"]), (2, ["t", "c", "s", "cs"])])
def test_it_is_the_mean_of_the_attentions_to_each_group_of_features(references: int, seen: list[str]) -> None:
    attention = _attention()
    hidden = torch.randn(2, CHANNELS, 3, 2)
    own = hidden.flatten(2).transpose(1, 2)
    tokens = {"t": torch.randn(2, 7, CHANNELS), "c": torch.randn(2, REFERENCE, CHANNELS)}
    tokens["s"] = torch.randn(2, REFERENCE, CHANNELS)
    given = [own, tokens["t"], *([tokens["c"]] if references == 2 else []), tokens["s"]]
    found = AggregatedAttention(references, REFERENCE)(attention, hidden, torch.cat(given, 1))
    expected = torch.zeros(2, 6, CHANNELS)
    for names in seen:
        expected += _plain(attention, own, torch.cat([own, *(tokens[name] for name in names)], 1)) / len(seen)
    expected = attention.to_out[0](expected).transpose(1, 2).reshape(2, CHANNELS, 3, 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def _attention() -> Any:
    torch.manual_seed(0)
    layers = {name: nn.Linear(CHANNELS, CHANNELS) for name in ("to_q", "to_k", "to_v")}
    return SimpleNamespace(heads=HEADS, to_out=[nn.Linear(CHANNELS, CHANNELS)], **layers)


def _plain(attention: Any, queries: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Softmax attention, head by head."""
    query, key, value = attention.to_q(queries), attention.to_k(seen), attention.to_v(seen)
    outputs = []
    size = CHANNELS // HEADS
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        weights = torch.exp(query[..., part] @ key[..., part].mT / math.sqrt(size))
        outputs.append(weights / weights.sum(-1, keepdim=True) @ value[..., part])
    return torch.cat(outputs, -1)
