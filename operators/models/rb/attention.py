"""RB-Modulation's attention feature aggregation (AFA) in stage C of Stable Cascade.

arXiv 2405.17401, section 4: a stage C block lets the latents attend to themselves and to the text, in one attention.
AFA computes several such attentions, with the text, the reference style and the reference content apart and together,
and averages them, so that no reference drowns the text. With [a; b] for the concatenation of keys and values:

    style             mean of A(Q, [K; K_text]), A(Q, [K; K_style]), A(Q, [K; K_text; K_style])
    style + content   mean of A(Q, [K; K_text]), A(Q, [K; K_content]), A(Q, [K; K_style]), A(Q, [K; K_content; K_style])

K are the latents' own keys (self-attention, the authors on https://github.com/LituRout/RB-Modulation/issues/3). The
paper leaves open which of the text goes with the references in the second mode; these are its named features, once
each and together, beside the text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class AggregatedAttention:
    """An attention processor for diffusers. The last tokens of what is attended to are the references'.

    `reference_tokens` is how many tokens one reference image takes (clip_seq, 4 in Stable Cascade); `references` is 1
    for style, 2 for content followed by style; everything between the latents' and these is the text's.
    """

    def __init__(self, references: int, reference_tokens: int) -> None:
        assert references in (1, 2)
        self._references, self._tokens = references, reference_tokens

    def __call__(
        self, attention: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        """`hidden_states` is N x C x h x w, `encoder_hidden_states` N x (hw + text + references) x C."""
        batch, channels, height, width = hidden_states.shape
        latents = height * width
        query = self._heads(attention, attention.to_q(hidden_states.flatten(2).transpose(1, 2)))
        key = self._heads(attention, attention.to_k(encoder_hidden_states))
        value = self._heads(attention, attention.to_v(encoder_hidden_states))
        outputs = []
        for chosen in self._groups(latents, key.shape[2]):
            index = torch.tensor(chosen, device=key.device)
            outputs.append(functional.scaled_dot_product_attention(query, key[:, :, index], value[:, :, index]))
        mean = torch.stack(outputs).mean(0).transpose(1, 2).reshape(batch, latents, channels)
        projected: torch.Tensor = attention.to_out[0](mean)
        return projected.transpose(1, 2).reshape(batch, channels, height, width)

    def _groups(self, latents: int, tokens: int) -> list[list[int]]:
        """Which tokens each of the averaged attentions sees."""
        start = tokens - self._references * self._tokens
        own, text = list(range(latents)), list(range(latents, start))
        style = list(range(tokens - self._tokens, tokens))
        if self._references == 1:
            return [own + text, own + style, own + text + style]
        content = list(range(start, start + self._tokens))
        return [own + text, own + content, own + style, own + content + style]

    @staticmethod
    def _heads(attention: Any, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.reshape(*tokens.shape[:2], attention.heads, -1).transpose(1, 2)
