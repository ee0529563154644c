"""Generates images and texts: an answer to an instruction and images, after one in-context example or none.

The example is run once. Then the keys and values of its tokens are dropped, and those of the X-Prompt tokens are all
that is left of it: S of them in place of thousands. An image is exactly as many codes as the model's images have, drawn
from image tokens only, its begin and end are given; a text is drawn from text tokens until its end.

Classifier-free guidance compares with the same images without example and without instruction. The paper's training
does not leave these out at random, so the model has not learned what that means: above 1, look at the results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xprompt_model.cache import KeyValues
from xprompt_model.layout import IE, MAX_DOCUMENT_TOKENS, TD, Document, Turn, build_context, build_prompt
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import Sampling
from xprompt_model.vocabulary import Ids


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What is kept of an in-context example: keys and values, and where its document goes on."""

    cache: KeyValues
    tokens: int
    """Length of IE and XP together: the position of TD's first token."""
    bytes_before: int
    """Size of all keys and values, before IE's were dropped."""
    bytes_after: int
    seconds: float
    """What running the example took."""


class Generator:
    """Answers with a model, one question at a time. Reuses a compressed example for as many as are asked."""

    def __init__(self, model: XPromptChameleon) -> None:
        self._model = model.eval()
        self._vocabulary = model.vocabulary
        self._device = model.xp.device
        images = self._vocabulary.in_image_block
        special = [self._vocabulary.begin_text, self._vocabulary.pad, self._vocabulary.separator]
        is_text = ~images
        is_text[special] = False
        self._text_ids = torch.from_numpy(np.flatnonzero(is_text)).to(self._device)
        self._image_ids = torch.from_numpy(self._vocabulary.image_ids).to(self._device)

    @torch.inference_mode()
    def compress(self, context: Turn | None, *, keep_example: bool = False) -> Compressed:
        """Run an in-context example and drop its keys and values, or keep them: "without X-Prompt" of Tab. 4.

        Without an example, run what a document begins with. Raises ValueError as `layout.build_document`.
        """
        start = time.perf_counter()
        document = build_context(context, self._vocabulary, xp_tokens=self._model.xp_tokens)
        cache = KeyValues()
        _run(self._model, cache, document, 0)
        before = cache.nbytes
        if not keep_example:
            cache.keep(torch.from_numpy(np.flatnonzero(document.segment != IE)).to(self._device))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # the time is that of the work, not of asking for it
        return Compressed(
            cache=cache,
            tokens=len(document),
            bytes_before=before,
            bytes_after=cache.nbytes,
            seconds=time.perf_counter() - start,
        )

    def image(
        self,
        instruction: Ids,
        inputs: Sequence[NDArray[np.integer]] = (),
        context: Compressed | None = None,
        sampling: Sampling | None = None,
    ) -> NDArray[np.int64]:
        """The code grid, [side, side], that answers an instruction's tokens and input images' code grids.

        Raises ValueError if the document would be longer than the context window, or an id or code is out of range.
        """
        side, count = self._vocabulary.image_side_tokens, self._vocabulary.image_tokens
        codes = self._answer(
            instruction,
            inputs,
            context,
            sampling or Sampling(),
            np.array([self._vocabulary.begin_image]),
            self._image_ids,
            count,
        )
        return np.fromiter(codes, np.int64, count).reshape(side, side)

    def text(
        self,
        instruction: Ids,
        inputs: Sequence[NDArray[np.integer]] = (),
        context: Compressed | None = None,
        sampling: Sampling | None = None,
        max_tokens: int = 256,
    ) -> Ids:
        """The tokens, at most so many, of the text that answers; without its end token. Raises as `image`."""
        found: list[int] = []
        for index in self._answer(
            instruction, inputs, context, sampling or Sampling(), np.array([], np.int64), self._text_ids, max_tokens
        ):
            token = int(self._text_ids[index])
            if token == self._vocabulary.end_text:
                break
            found.append(token)
        return np.array(found, np.int64)

    def _answer(
        self,
        instruction: Ids,
        inputs: Sequence[NDArray[np.integer]],
        context: Compressed | None,
        sampling: Sampling,
        begin: Ids,
        candidates: Tensor,
        count: int,
    ) -> Iterator[int]:
        """Indices into the candidates, one after the other; the answer's first tokens are given by `begin`."""
        context = context or self.compress(None)
        prompt = build_prompt(instruction, inputs, self._vocabulary)
        needed = context.tokens + len(prompt) + len(begin) + count
        if needed > MAX_DOCUMENT_TOKENS:
            raise ValueError(f"{needed:,} tokens with the answer: the context window has {MAX_DOCUMENT_TOKENS:,}")
        streams = [_Stream(self._model, context)]
        prompts = [prompt]
        if sampling.guidance != 1:
            streams.append(_Stream(self._model, self.compress(None)))
            prompts.append(build_prompt(np.array([], np.int64), inputs, self._vocabulary))
        logits = [
            stream.feed(np.concatenate((document.ids, begin)))
            for stream, document in zip(streams, prompts, strict=True)
        ]
        generator = sampling.generator()
        for remaining in reversed(range(count)):
            scores = [row[candidates] for row in logits]
            guided = scores[0] if len(scores) == 1 else torch.lerp(scores[1], scores[0], sampling.guidance)
            index = sampling.draw(guided, generator)
            yield index
            if remaining:
                logits = [stream.feed(candidates[index : index + 1].cpu().numpy()) for stream in streams]


class _Stream:
    """A document that is being written: its keys and values, and its next position."""

    def __init__(self, model: XPromptChameleon, context: Compressed) -> None:
        self._model = model
        self._cache = context.cache.fork()
        self._position = context.tokens

    @torch.inference_mode()
    def feed(self, ids: Ids) -> Tensor:
        """Logits, [vocabulary], of the token that follows these."""
        document = Document(ids=ids, segment=np.full(len(ids), TD, np.int8), weight=np.zeros(len(ids), np.float32))
        hidden = _run(self._model, self._cache, document, self._position)
        self._position += len(ids)
        return self._model.logits(hidden[-1])


def _run(model: XPromptChameleon, cache: KeyValues, document: Document, position: int) -> Tensor:
    """Hidden states, [n, hidden], of a document's tokens behind those in the cache, all of which they may see."""
    device, count, cached = model.xp.device, len(document), len(cache)
    mask = torch.ones(count, cached + count, dtype=torch.bool, device=device).tril(cached)
    return model.advance(
        torch.from_numpy(document.ids).to(device),
        torch.from_numpy(document.segment).to(device),
        torch.arange(position, position + count, device=device),
        mask[None, None],
        cache,
    )
