"""The four arms of the experiment: one small Chameleon, one layout, four ways to let the answer see the example.

    none      no in-context example
    causal    the whole sequence under the plain causal mask: "without X-Prompt" in the paper's Tab. 4; as in training
              proper, X-Prompt tokens stay in it, here one, since a model has at least one
    xprompt   TD sees S learnable X-Prompt tokens, and they see the example: the paper's method
    averages  TD sees S averages over the keys and values of the example's tokens, of each layer (averages.py)

They run the shipped forward pass (`advance`, `logits`) over documents of `build_document` under `dense_mask`, and their
loss is that of `XPromptChameleon.loss`; only, documents of one arm are all as long and become rows of a batch, which on
a CPU costs a fraction of packed ones, where attention meets all pairs of tokens. An answer is written as `Generator`
writes one, the example dropped behind the X-Prompt tokens; only, many answers at a time, each behind an example of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import ChameleonConfig

from train.icl.averages import AveragingChameleon
from train.icl.pictures import COLOURS
from train.icl.runs import COMPRESSED, Arm, Settings
from train.icl.tasks import Examples
from xprompt_model.batch import MicroBatch, collate
from xprompt_model.cache import KeyValues
from xprompt_model.layout import IE, WINDOW_TOKENS, Document, Turn, Weights, build_document
from xprompt_model.mask import dense_mask
from xprompt_model.model import XPromptChameleon
from xprompt_model.vocabulary import BEGIN_IMAGE, BEGIN_TEXT, END_IMAGE, END_TEXT, PAD, SEPARATOR, code_name

_INSTRUCTION = "instruction"  # one token for all tasks: it must not tell them apart


def config(settings: Settings) -> ChameleonConfig:
    """A Chameleon whose images are side x side codes, one for each of COLOURS."""
    names = [BEGIN_TEXT, PAD, END_TEXT, *map(code_name, range(COLOURS)), END_IMAGE, BEGIN_IMAGE, SEPARATOR]
    names += [_INSTRUCTION, "<image>"]
    return ChameleonConfig(
        vocab_size=len(names),
        hidden_size=settings.width,
        intermediate_size=2 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        initializer_range=settings.width**-0.5,  # transformers' 0.02 is for wide models: nothing moves for long here
        bos_token_id=0,
        # Chameleon's 10,000 is for thousands of tokens. With this one all pairs turn within an example, and heads soon
        # find the place that is so many tokens back.
        rope_parameters={"rope_type": "default", "rope_theta": float(example_tokens(settings))},
        pad_token_id=1,
        eos_token_id=2,
        vocabulary_map={name: index for index, name in enumerate(names)},
        vq_config={
            "num_embeddings": COLOURS,
            "resolution": settings.side,
            "channel_multiplier": [1],
            "base_channels": 32,
        },
    )


def example_tokens(settings: Settings) -> int:
    """Length of an in-context example: its begin, instruction and separator, and two images with begin and end."""
    return 3 + 2 * (settings.side**2 + 2)


class IclModel:
    """A model and its arm. Weights are drawn by `seed`, and those that the arms share are the same for all."""

    def __init__(self, arm: Arm, xp_tokens: int, seed: int, settings: Settings, device: str = "cpu") -> None:
        self.arm, self._settings, self._device, self._seed = arm, settings, device, seed
        torch.manual_seed(seed)
        kind = AveragingChameleon if arm == "averages" else XPromptChameleon
        self.model = kind(config(settings), xp_tokens=max(1, xp_tokens)).to(device)
        self._codes = torch.from_numpy(self.model.vocabulary.image_ids).to(device)
        self._instruction = np.array([(config(settings).vocabulary_map or {})[_INSTRUCTION]])

    def start_from(self, base: Mapping[str, Tensor]) -> None:
        """Take a base's weights. X-Prompt embeddings are drawn anew, around its embeddings, as for a checkpoint."""
        self.model.load_state_dict({**base, "xp": self.model.xp.detach()})
        torch.manual_seed(self._seed)
        self.model.reset_xp()

    def documents(self, examples: Examples) -> list[Document]:
        """The documents of examples."""
        return [
            build_document(
                self._turn(query, answer),
                [] if self.arm == "none" else [self._turn(before, after)],
                self.model.vocabulary,
                # The example's output is predicted too: supervision that costs nothing and helps every arm with one.
                weights=Weights(context_image=1.0),
                window_tokens=WINDOW_TOKENS,
                xp_tokens=self.model.xp_tokens,
            )
            for before, after, query, answer in zip(
                examples.context_input, examples.context_output, examples.query, examples.answer, strict=True
            )
        ]

    def loss(self, examples: Examples) -> Tensor:
        """Mean negative log-likelihood of the output images and ends, nats a token."""
        ids, layout = self._rows(examples)
        hidden = self.model.advance(ids, layout.segment, layout.position, self._mask(layout))
        chosen = torch.nonzero(layout.weight[1:])[:, 0]
        return functional.cross_entropy(
            self.model.logits(hidden[:, chosen].flatten(0, 1)), ids[:, chosen + 1].flatten()
        )

    @torch.inference_mode()
    def answer(self, examples: Examples) -> NDArray[np.int64]:
        """The answers' codes, [n, side, side], token by token, each the likeliest code after those chosen before.

        The true answer is not looked at: its earlier pixels would tell the task.
        """
        ids, batch = self._rows(examples)
        cells = self._settings.side**2
        prompt = len(batch) - cells - 2  # end of image, end of text
        mask = self._mask(batch)[..., :prompt, :prompt]
        cache = KeyValues()
        hidden = self.model.advance(ids[:, :prompt], batch.segment[:prompt], batch.position[:prompt], mask, cache)
        if self.arm in COMPRESSED:
            cache.keep(torch.nonzero(batch.segment[:prompt] != IE)[:, 0])
        chosen: list[Tensor] = []
        for place in range(prompt, prompt + cells):
            chosen.append(self.model.logits(hidden[:, -1])[:, self._codes].argmax(1))
            if len(chosen) < cells:
                one = slice(place, place + 1)
                hidden = self.model.advance(
                    self._codes[chosen[-1]][:, None], batch.segment[one], batch.position[one], None, cache
                )
        return torch.stack(chosen, 1).cpu().numpy().reshape(examples.answer.shape)

    def _turn(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> Turn:
        return Turn(instruction=self._instruction, inputs=(before,), output=after)

    def _rows(self, examples: Examples) -> tuple[Tensor, MicroBatch]:
        """The documents' ids, [n, T], and the first of them, which has the layout of all."""
        documents = self.documents(examples)
        ids = np.stack([document.ids for document in documents]).astype(np.int64)
        layout = collate(documents[:1], len(documents[0]))
        return torch.from_numpy(ids).to(self._device), layout.to(self._device)

    def _mask(self, layout: MicroBatch) -> Tensor:
        return dense_mask(layout, causal=self.arm not in COMPRESSED)
