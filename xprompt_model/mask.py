"""Who attends to whom: one predicate, as a boolean mask for scaled_dot_product_attention (CPU, tests) and as the block
mask of flex_attention (CUDA), which has no backward pass on a CPU and skips the tiles in which nothing is allowed.

A token attends to itself and what comes before it in its document. TD never attends to IE (paper section 3.1): all that
it learns of an in-context example has passed through that example's XP. No example sees another, in the causal arm
neither: their positions overlap, so that what one is would depend on which ones stand before it. Padding attends to
padding, since a row without any allowed key is undefined under a mask that adds the smallest float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from xprompt_model.batch import MicroBatch
from xprompt_model.layout import IE, TD

Mask: TypeAlias = Tensor | BlockMask
"""A boolean [1, 1, T, T], True where a query (row) may attend to a key (column), or the same as a block mask."""

Predicate = Callable[[Tensor, Tensor], Tensor]


def allowed(segment: Tensor, document: Tensor, example: Tensor, *, causal: bool = False) -> Predicate:
    """Whether query q may attend to key k, for broadcastable tensors of indices q and k.

    `segment`, `document` and `example` are those of a micro-batch, [T]. `causal` is the arm "without X-Prompt" of the
    paper's Tab. 4: TD sees IE as well.
    """

    def predicate(q: Tensor, k: Tensor) -> Tensor:
        is_todo = segment[q] == TD
        visible = (document[q] == document[k]) & (k <= q) & (is_todo | (example[q] == example[k]))
        return visible if causal else visible & ~(is_todo & (segment[k] == IE))

    return predicate


def dense_mask(batch: MicroBatch, *, causal: bool = False) -> Tensor:
    """Boolean [1, 1, T, T]: 26 MB at 5,120 tokens, and growing with their square."""
    index = torch.arange(len(batch), device=batch.ids.device)
    mask = allowed(batch.segment, batch.document, batch.example, causal=causal)(index[:, None], index[None, :])
    return mask[None, None]


def block_mask(batch: MicroBatch, *, causal: bool = False) -> BlockMask:
    """The mask by tiles of 128 x 128 tokens: empty, full, or partial and then asking the predicate."""
    predicate = allowed(batch.segment, batch.document, batch.example, causal=causal)
    length = len(batch)

    def modifier(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return predicate(q, k)

    # Without a compiler T x T booleans are made, several times over.
    make = _compiled if batch.ids.is_cuda else create_block_mask
    found: BlockMask = make(modifier, B=None, H=None, Q_LEN=length, KV_LEN=length, device=batch.ids.device)
    return found


_compiled = torch.compile(create_block_mask)
