"""Generates images and texts: an answer to an instruction and images, after one in-context example or none.

The example is run once. Then the keys and values of its tokens are dropped, and those of the X-Prompt tokens are all
that is left of it: S of them in place of thousands. An image is exactly as many codes as the model's images have, drawn
from image tokens only, its begin and end are given; a text is drawn from text tokens until its end.

Classifier-free guidance compares with the same images alone, and with nothing, as Meta's inference does: a document
that is begun, the images, and the begin of the answer. The instruction and its separator are left out, and with them
the example, which tells what to do as they do; of a text, which has no begin of its own, the separator is left, behind
which it comes. The paper's training leaves none of these out at random, so the model
has not learned what that means: look at the results.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xprompt_model.cache import Cache, KeyValues, RoomyKeyValues
from xprompt_model.layout import IE, TD, Turn, build_context, build_prompt
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import IMAGE, TEXT, Sampling
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
        text = np.append(self._vocabulary.text_ids, self._vocabulary.end_text)
        self._text_ids = torch.from_numpy(np.unique(text)).to(self._device)
        self._image_ids = torch.from_numpy(self._vocabulary.image_ids).to(self._device)

    @torch.inference_mode()
    def compress(self, context: Turn | None, *, keep_example: bool = False) -> Compressed:
        """Run an in-context example and drop its keys and values, or keep them: "without X-Prompt" of Tab. 4.

        Without an example, run what a document begins with. Raises ValueError as `layout.build_document`.
        """
        start = time.perf_counter()
        document = build_context(context, self._vocabulary, xp_tokens=self._model.xp_tokens)
        cache = KeyValues()
        ids, segment = (torch.from_numpy(array).to(self._device) for array in (document.ids, document.segment))
        _run(self._model, cache, ids, segment, 0)
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
        sampling: Sampling = IMAGE,
        seed: int = 0,
    ) -> NDArray[np.int64]:
        """The code grid, [side, side], that answers an instruction's tokens and input images' code grids.

        Raises ValueError if the document would be longer than the context window, or an id or code is out of range.
        """
        grid: NDArray[np.int64] = self.images(instruction, inputs, context, sampling, [seed])[0]
        return grid

    def images(
        self,
        instruction: Ids,
        inputs: Sequence[NDArray[np.integer]],
        context: Compressed | None,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> NDArray[np.int64]:
        """As many code grids, [seeds, side, side], as there are seeds, made together. Raises as `image`.

        The last bits of logits depend on how many are made together, so that a code here and there may, too.
        """
        side, count = self._vocabulary.image_side_tokens, self._vocabulary.image_tokens
        begin = np.array([self._vocabulary.begin_image])
        codes = [
            *self._answer(instruction, inputs, context, sampling, seeds, begin, self._image_ids, count)
        ]  # [count, seeds], left on the device until all are there
        return torch.stack(codes, 1).view(len(seeds), side, side).cpu().numpy()

    def text(
        self,
        instruction: Ids,
        inputs: Sequence[NDArray[np.integer]] = (),
        context: Compressed | None = None,
        sampling: Sampling = TEXT,
        seed: int = 0,
        max_tokens: int = 256,
    ) -> Ids:
        """The tokens, at most so many, of the text that answers; without its end token. Raises as `image`."""
        found: list[int] = []
        begin = np.array([], np.int64)
        for index in self._answer(instruction, inputs, context, sampling, [seed], begin, self._text_ids, max_tokens):
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
        seeds: Sequence[int],
        begin: Ids,
        candidates: Tensor,
        count: int,
    ) -> Iterator[Tensor]:
        """Indices into the candidates, [seeds], one after the other; the answer's first tokens are given by `begin`."""
        context = context or self.compress(None)
        prompt = build_prompt(instruction, inputs, self._vocabulary).ids
        needed = context.tokens + len(prompt) + len(begin) + count
        if needed > (window := self._model.window_tokens):
            raise ValueError(f"{needed:,} tokens with the answer: the context window has {window:,}")
        images = [self._vocabulary.image_block(codes) for codes in inputs]
        shares = sampling.shares(images=bool(images))
        bare = self.compress(None) if any(shares[1:]) else context
        before_text = [] if len(begin) else [np.array([self._vocabulary.separator])]
        begun = [(context, [prompt]), (bare, [*images, *before_text]), (bare, before_text)]
        streams = [
            _Stream(self._model, before, np.concatenate([*parts, begin]), share, rows=len(seeds), room_tokens=count)
            for share, (before, parts) in zip(shares, begun, strict=True)
            if share
        ]
        uniforms = sampling.uniforms(seeds, count).to(self._device)
        for place in range(count):
            guided = torch.stack([stream.share * stream.logits[:, candidates] for stream in streams]).sum(0)
            index = sampling.draw(guided, uniforms[place])
            yield index
            if place < count - 1:
                for stream in streams:
                    stream.feed(candidates[index])


class _Stream:
    """Documents that are being written and differ in their answers only, with what they are to count for."""

    def __init__(
        self, model: XPromptChameleon, context: Compressed, ids: Ids, share: float, *, rows: int, room_tokens: int
    ) -> None:
        """Run the tokens behind a context once, then go on with so many rows."""
        self._model, self.share = model, share
        self._position = context.tokens + len(ids)
        begun = context.cache.fork()
        logits = self._next(begun, torch.from_numpy(ids).to(model.xp.device), context.tokens)
        self._cache = RoomyKeyValues(begun, room_tokens=room_tokens, rows=rows)
        self.logits = logits.expand(rows, -1)
        """Those of the tokens that follow, [rows, vocabulary], float32."""

    def feed(self, tokens: Tensor) -> None:
        """Go on with a token in each row, [rows]."""
        self.logits = self._next(self._cache, tokens[:, None], self._position)
        self._position += 1

    @torch.inference_mode()
    def _next(self, cache: Cache, ids: Tensor, position: int) -> Tensor:
        segment = torch.full(ids.shape[-1:], TD, dtype=torch.int8, device=ids.device)
        hidden = _run(self._model, cache, ids, segment, position)
        return self._model.logits(hidden.view(-1, *hidden.shape[-2:])[:, -1])


def _run(model: XPromptChameleon, cache: Cache, ids: Tensor, segment: Tensor, position: int) -> Tensor:
    """Hidden states of tokens, [n] or [rows, n], behind those in the cache, all of which they may see."""
    device, count, cached = ids.device, ids.shape[-1], len(cache)
    mask = torch.ones(count, cached + count, dtype=torch.bool, device=device).tril(cached)[None, None]
    places = torch.arange(position, position + count, device=device)
    return model.advance(ids, segment, places, mask if count > 1 else None, cache)
