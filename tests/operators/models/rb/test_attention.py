from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from operators.models.rb.attention import AggregatedAttention

HEADS, CHANNELS, REFERENCE = 2, 8, 4


@pytest.mark.parametrize(
    ("references", "seen"),
    [(1, ["wp", "wps", "ws"]), (2, ["wp", "wpc", "wps", "wpcs"])],
    ids=["style", "style and content"],
)
def test_it_is_the_mean_of_the_attentions_to_each_group_of_features(references: int, seen: list[str]) -> None:
    """Of the latents' own, the words, the pooled text, the content; of the style there is the mean, four times."""
    attention = _attention()
    hidden = torch.randn(2, CHANNELS, 3, 2)
    own = hidden.flatten(2).transpose(1, 2)
    tokens = {name: torch.randn(2, 7 if name == "w" else REFERENCE, CHANNELS) for name in "wpcs"}
    given = [own, tokens["w"], tokens["p"], *([tokens["c"]] if references == 2 else []), tokens["s"]]
    found = AggregatedAttention(references, REFERENCE)(attention, hidden, torch.cat(given, 1))
    tokens["s"] = torch.stack([tokens["s"].sum(1) / REFERENCE] * REFERENCE, 1)
    expected = torch.zeros(2, 6, CHANNELS)
    for names in seen:
        expected += _plain(attention, own, torch.cat([own, *(tokens[name] for name in names)], 1)) / len(seen)
    expected = attention.to_out[0](expected).transpose(1, 2).reshape(2, CHANNELS, 3, 2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("references", [1, 2])
def test_the_layout_of_the_styles_tokens_does_not_show_and_that_of_others_does(references: int) -> None:
    attention = _attention()
    hidden, given = torch.randn(1, CHANNELS, 3, 2), torch.randn(1, 6 + 7 + REFERENCE * (1 + references), CHANNELS)
    processor = AggregatedAttention(references, REFERENCE)

    def moved(first: int) -> float:
        """How much the result changes where a token is half and another one as much more."""
        changed = given.clone()
        changed[:, first] -= 0.5 * given[:, first]
        changed[:, first + 1] += 0.5 * given[:, first]
        with torch.no_grad():
            return float((processor(attention, hidden, changed) - processor(attention, hidden, given)).abs().max())

    assert moved(-REFERENCE) < 1e-6
    assert moved(-2 * REFERENCE) > 1e-4


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
