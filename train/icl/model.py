"""The four arms of the experiment: one small Chameleon, one layout, four ways to let the answer see the example.

    none      no in-context example
    causal    the whole sequence under the plain causal mask: "without X-Prompt" in the paper's Tab. 4
    xprompt   TD sees S learnable X-Prompt tokens, and they see the example: the paper's method
    pooled    TD sees S averages over the keys and values of the example's tokens, of each layer, instead; nothing is
              learned for them ("Getting to the Gist of Gisting" found this hard to beat)

The examples of a batch have one length, so they lie side by side, [n, length], and not in one flat micro-batch as in
training proper: 38 tokens attend to 38 and not to 1,800. Model, layout and mask are those of `xprompt_model`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import ChameleonConfig

from train.icl.tasks import CELLS, COLOURS, SIDE, Batch, Codes
from xprompt_model.batch import collate
from xprompt_model.cache import KeyValues
from xprompt_model.layout import IE, WINDOW_TOKENS, XP, Document, Turn, Weights, build_document
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon
from xprompt_model.vocabulary import BEGIN_IMAGE, BEGIN_TEXT, END_IMAGE, END_TEXT, PAD, SEPARATOR, code_name

Arm = Literal["none", "causal", "xprompt", "pooled"]
ARMS: tuple[Arm, ...] = ("none", "causal", "xprompt", "pooled")

XP_TOKENS = 6
"""The number of X-Prompt tokens, S: fewer than the example's 15 tokens, which tell what becomes of four colours."""

_WIDTH, _LAYERS, _HEADS = 64, 4, 4
_INSTRUCTION = "instruction"  # one token for all tasks: it must not tell them apart


def config() -> ChameleonConfig:
    """A Chameleon whose images are SIDE x SIDE codes of a codebook of COLOURS."""
    names = [BEGIN_TEXT, PAD, END_TEXT, *map(code_name, range(COLOURS)), END_IMAGE, BEGIN_IMAGE, SEPARATOR]
    names += [_INSTRUCTION, "<image>"]
    return ChameleonConfig(
        vocab_size=len(names),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_HEADS,
        initializer_range=_WIDTH**-0.5,  # transformers' 0.02 is meant for wide models: nothing moves for long here
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        vocabulary_map={name: index for index, name in enumerate(names)},
        vq_config={"num_embeddings": COLOURS, "resolution": SIDE, "channel_multiplier": [1], "base_channels": 32},
    )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where things are in every sequence of an arm."""

    template: Document
    cells: NDArray[np.int64]
    """Indices of image cells, CELLS for each image of a sequence, in order."""
    mask: Tensor
    """Which token (row) may attend to which (column), [1, 1, length, length]."""


class IclModel:
    """A model and its arm. Weights are drawn by `seed`."""

    def __init__(self, arm: Arm, seed: int) -> None:
        self.arm: Arm = arm
        torch.manual_seed(seed)
        self.model = XPromptChameleon(config(), xp_tokens=XP_TOKENS)
        self._codes = torch.from_numpy(self.model.vocabulary.image_ids)
        self._layout = self._make_layout()

    def _make_layout(self) -> _Layout:
        vocabulary = self.model.vocabulary
        image, instruction = np.zeros((SIDE, SIDE), np.int64), np.array([(config().vocabulary_map or {})[_INSTRUCTION]])
        turn = Turn(instruction=instruction, inputs=(image,), output=image)
        template = build_document(
            turn,
            [] if self.arm == "none" else [turn],
            vocabulary,
            window_tokens=WINDOW_TOKENS,
            # The example's output is predicted too: supervision that costs nothing and helps every arm with a context.
            weights=Weights(context_image=1.0),
            xp_tokens=0 if self.arm == "pooled" else XP_TOKENS,
        )
        mask = dense_mask(collate([template], len(template)), causal=self.arm != "xprompt")
        is_cell = (template.ids == vocabulary.image_ids[0]) & (template.segment != XP)
        return _Layout(template=template, cells=np.flatnonzero(is_cell), mask=mask)

    def ids(self, batch: Batch) -> Tensor:
        """The sequences of a batch, [n, length]."""
        images = [batch.query, batch.answer]
        if self.arm != "none":
            images = [batch.context_input, batch.context_output, *images]
        ids = np.tile(self._layout.template.ids, (len(batch.query), 1))
        ids[:, self._layout.cells] = self.model.vocabulary.image_ids[np.concatenate(images, 1)]
        return torch.from_numpy(ids)

    def loss(self, batch: Batch) -> Tensor:
        """Mean negative log-likelihood of the output images and ends, nats a token."""
        ids = self.ids(batch)
        targets = np.flatnonzero(self._layout.template.weight)
        logits = self.model.logits(self._hidden(ids)[:, targets - 1])
        return functional.cross_entropy(logits.flatten(0, 1), ids[:, targets].flatten())

    @torch.inference_mode()
    def answer(self, batch: Batch) -> Codes:
        """The answers, n x CELLS, token by token, each the likeliest colour after those chosen before.

        The true answer is not looked at: its earlier cells would tell the task.
        """
        ids = self.ids(batch)
        cells = self._layout.cells[-CELLS:]
        ids[:, cells] = self._codes[0]
        for cell in cells:
            logits = self.model.logits(self._hidden(ids)[:, cell - 1])
            ids[:, cell] = self._codes[logits[:, self._codes].argmax(1)]
        return np.searchsorted(self.model.vocabulary.image_ids, ids[:, cells].numpy())

    def _hidden(self, ids: Tensor) -> Tensor:
        """Last hidden states, [n, length, hidden], of n sequences: those of `XPromptChameleon.advance`."""
        segment, mask, length = torch.from_numpy(self._layout.template.segment), self._layout.mask, ids.shape[1]
        position = torch.arange(length)
        if self.arm != "pooled":
            return self.model.advance(ids, segment, position, mask)
        # Positions leave the room that X-Prompt tokens would take, so that the arms differ in nothing else.
        position[segment != IE] += XP_TOKENS
        example = int((segment == IE).sum())
        cache = KeyValues()
        before = self.model.advance(
            ids[:, :example], segment[:example], position[:example], mask[..., :example, :example], cache
        )
        todo = mask[..., example:, example:]
        seen = torch.cat([todo.new_ones(1, 1, length - example, XP_TOKENS), todo], -1)
        after = self.model.advance(ids[:, example:], segment[example:], position[example:], seen, _pooled(cache))
        return torch.cat([before, after], 1)


def _pooled(cache: KeyValues) -> KeyValues:
    """XP_TOKENS averages of neighbouring keys and values of each layer."""
    pooled = KeyValues()
    for index, (keys, values) in enumerate(cache.layers):
        size = (XP_TOKENS, keys.shape[-1])
        pooled.update(functional.adaptive_avg_pool2d(keys, size), functional.adaptive_avg_pool2d(values, size), index)
    return pooled
