"""RB-Modulation's attention feature aggregation (AFA) in stage C of Stable Cascade.

arXiv 2405.17401, section 4: a stage C block lets the latents attend to themselves and to the text, in one attention.
AFA computes several such attentions, which see the references apart and together, and averages them, so that no
reference drowns the text. The paper leaves open which of them see the text; the authors' code says it (utils.py of
https://github.com/google/RB-Modulation, Attention2D). With [a; b] for the concatenation of keys and values, and K for
the latents' own, which all of them see:

    style             mean of A(Q, [K; text]), A(Q, [K; text; style]), A(Q, [K; words; style])
    style + content   mean of A(Q, [K; text]), A(Q, [K; text; content]), A(Q, [K; text; style]),
                      A(Q, [K; text; content; style])

The text is a token for each word, and as many as a reference has for all words together: the style alone takes the
place of these, and leaves `words`. Each of the style's tokens is replaced by the mean of them all, so that its layout
does not show; the content's stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class AggregatedAttention:
    """An attention processor for diffusers. The last tokens of what is attended to are the references'.

    `reference_tokens` is how many tokens one reference image takes, and the pooled text (clip_seq, 4 in Stable
    Cascade); `references` is 1 for style, 2 for content followed by style; what is between the latents' tokens and
    these is the text's, words first.
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
        style = encoder_hidden_states[:, -self._tokens :]
        mean = style.mean(1, keepdim=True).expand_as(style)
        seen = torch.cat([encoder_hidden_states[:, : -self._tokens], mean], dim=1)
        key = self._heads(attention, attention.to_k(seen))
        value = self._heads(attention, attention.to_v(seen))
        outputs = []
        for chosen in self._groups(latents, key.shape[2]):
            index = torch.tensor(chosen, device=key.device)
            outputs.append(functional.scaled_dot_product_attention(query, key[:, :, index], value[:, :, index]))
        aggregated = torch.stack(outputs).mean(0).transpose(1, 2).reshape(batch, latents, channels)
        projected: torch.Tensor = attention.to_out[0](aggregated)
        return projected.transpose(1, 2).reshape(batch, channels, height, width)

    def _groups(self, latents: int, tokens: int) -> list[list[int]]:
        """Which tokens each of the averaged attentions sees."""
        start = tokens - self._references * self._tokens
        own, text = list(range(latents)), list(range(latents, start))
        style = list(range(tokens - self._tokens, tokens))
        if self._references == 1:
            return [own + text, own + text + style, own + text[: -self._tokens] + style]
        content = list(range(start, start + self._tokens))
        return [own + text, own + text + content, own + text + style, own + text + content + style]

    @staticmethod
    def _heads(attention: Any, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.reshape(*tokens.shape[:2], attention.heads, -1).transpose(1, 2)
