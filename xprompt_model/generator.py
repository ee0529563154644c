"""Generates images and texts: answers to instructions and images, in the context of examples or of none.

An example is run once. Then the keys and values of its tokens are dropped, and those of the X-Prompt tokens are all
that is left of it: S of them in place of thousands. An image is exactly as many codes as the model's images have, drawn
from image tokens only, its begin and end are given; a text is drawn from text tokens until its end.

Requests are answered together, as rows of one batch; each has its own length, images, examples and seed. What is drawn
is decided by the request's seed and by its logits. In exact arithmetic those are the same whatever else is in the
batch; in floating point their last bits depend on how many rows a kernel works on, so that of two tokens that are all
but equally likely now and then the other one is drawn.

Classifier-free guidance compares with the same images alone, and with nothing, as Meta's inference does: a document
that is begun, the images, and the begin of the answer. These are rows of the batch too. The instruction and its
separator are left out, and with them the examples, which tell what to do as they do; of a text, which has no begin of
its own, the separator is left, behind which it comes. The paper's training leaves none of these out at random, so the
model has not learned what that means: look at the results.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xprompt_model.cache import Compressed, KeyValues
from xprompt_model.decoding import Beginning, CompiledSteps, Rows
from xprompt_model.layout import IE, Turn, build_context, build_prompt
from xprompt_model.model import XPromptChameleon
from xprompt_model.sampling import IMAGE, TEXT, Sampling
from xprompt_model.vocabulary import Ids


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """A question of its own: requests of one batch share neither lengths, nor images, nor examples, nor seeds."""

    instruction: Ids
    """Text tokens, [n]."""
    inputs: Sequence[NDArray[np.integer]] = ()
    """Image code grids, [h, w] each."""
    contexts: Sequence[Compressed] = ()
    """Compressed examples, none of which has seen another: of each the keys and values that were kept."""
    seed: int = 0


class Generator:
    """Answers requests with a model, many at once. A compressed example serves as many requests as are asked."""

    def __init__(self, model: XPromptChameleon, *, compiled: bool = False) -> None:
        """`compiled` is for CUDA: steps are compiled, which takes a minute or more, for each size of batch once.

        Raises ValueError for compiled steps on another device.
        """
        self._model = model.eval()
        self._vocabulary = model.vocabulary
        self.device = model.xp.device
        """Where the model is."""
        if compiled and self.device.type != "cuda":
            raise ValueError(f"compiled steps are for CUDA: this model is on {self.device.type}")
        self._steps = CompiledSteps(model) if compiled else None
        text = np.append(self._vocabulary.text_ids, self._vocabulary.end_text)
        self._text_ids = torch.from_numpy(np.unique(text)).to(self.device)
        self._image_ids = torch.from_numpy(self._vocabulary.image_ids).to(self.device)

    @torch.inference_mode()
    def compress(self, context: Turn | None, *, keep_example: bool = False) -> Compressed:
        """Run an in-context example and drop its keys and values, or keep them: "without X-Prompt" of Tab. 4.

        Without an example, run what a document begins with. Raises ValueError as `layout.build_document`.
        """
        start = time.perf_counter()
        document = build_context(context, self._vocabulary, xp_tokens=self._model.xp_tokens)
        cache = KeyValues()
        ids, segment = (torch.from_numpy(array).to(self.device) for array in (document.ids, document.segment))
        self._model.advance(ids, segment, torch.arange(len(document), device=self.device), None, cache)
        before = cache.nbytes
        if not keep_example:
            cache.keep(torch.from_numpy(np.flatnonzero(document.segment != IE)).to(self.device))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the time is that of the work, not of asking for it
        return Compressed(
            cache=cache,
            tokens=len(document),
            bytes_before=before,
            bytes_after=cache.nbytes,
            seconds=time.perf_counter() - start,
        )

    @torch.inference_mode()
    def images(self, requests: Sequence[Request], sampling: Sampling = IMAGE) -> NDArray[np.int64]:
        """The code grids, [requests, side, side], that answer.

        Raises ValueError if a document would be longer than the context window, or an id or code is out of range.
        """
        side, count = self._vocabulary.image_side_tokens, self._vocabulary.image_tokens
        begin = np.array([self._vocabulary.begin_image])
        if not requests:
            return np.empty((0, side, side), np.int64)
        batch = self._begin(requests, sampling, begin, count)
        uniforms = sampling.uniforms([request.seed for request in requests], count).to(self.device)
        codes: list[Tensor] = []  # left on the device until all are there
        for place in range(count):
            if codes:
                batch.feed(self._image_ids[codes[-1]])
            codes.append(sampling.draw(batch.logits(self._image_ids), uniforms[place]))
        return torch.stack(codes, 1).view(len(requests), side, side).cpu().numpy()

    @torch.inference_mode()
    def texts(self, requests: Sequence[Request], sampling: Sampling = TEXT, max_tokens: int = 256) -> list[Ids]:
        """The tokens, at most so many, of the texts that answer; without their end tokens. Raises as `images`."""
        found: list[list[int]] = [[] for _ in requests]
        if not requests:
            return []
        batch = self._begin(requests, sampling, np.array([], np.int64), max_tokens)
        uniforms = sampling.uniforms([request.seed for request in requests], max_tokens).to(self.device)
        beside, ended = [*range(len(requests))], set[int]()
        for place in range(max_tokens):
            tokens = self._text_ids[sampling.draw(batch.logits(self._text_ids), uniforms[place])]
            for request, token in zip(beside, tokens.tolist(), strict=True):
                if token == self._vocabulary.end_text:
                    ended.add(request)
                elif request not in ended:
                    found[request].append(token)
            going = [index for index, request in enumerate(beside) if request not in ended]
            if not going or place == max_tokens - 1:
                break
            if len(going) < len(beside) and not self._steps:
                batch.keep(going)
                tokens, uniforms, beside = tokens[going], uniforms[:, going], [beside[index] for index in going]
            batch.feed(tokens)
        return [np.array(tokens, np.int64) for tokens in found]

    def _begin(self, requests: Sequence[Request], sampling: Sampling, begin: Ids, count: int) -> _Batch:
        """Run what requests begin with, in all their streams; the answers' first tokens are given by `begin`."""
        nothing = (self.compress(None),)
        before_text = [] if len(begin) else [np.array([self._vocabulary.separator])]
        beginnings, shares = [], []
        for request in requests:
            contexts = tuple(request.contexts) or nothing
            prompt = build_prompt(request.instruction, request.inputs, self._vocabulary).ids
            images = [self._vocabulary.image_block(codes) for codes in request.inputs]
            streams = [(contexts, [prompt]), (nothing, [*images, *before_text]), (nothing, before_text)]
            counted = sampling.shares(images=bool(images))
            begun = [
                Beginning(contexts=before, ids=np.concatenate([*parts, begin]))
                for share, (before, parts) in zip(counted, streams, strict=True)
                if share
            ]
            needed = max(beginning.start + len(beginning.ids) for beginning in begun) + count
            if needed > (window := self._model.window_tokens):
                raise ValueError(f"{needed:,} tokens with the answer: the context window has {window:,}")
            beginnings.append(begun)
            shares.append([share for share in counted if share])
        rows = Rows(self._model, [one for begun in beginnings for one in begun], room_tokens=count, steps=self._steps)
        return _Batch(rows, shares)


class _Batch:
    """Requests that are being answered: each has a row for every stream of its guidance, one behind the other."""

    def __init__(self, rows: Rows, shares: Sequence[Sequence[float]]) -> None:
        """`shares`: of each request, what the logits of its rows are multiplied by."""
        self._rows, self._shares = rows, shares
        self._arrange()

    def logits(self, candidates: Tensor) -> Tensor:
        """Those of tokens that may come next, by their ids, [requests, candidates], guided."""
        logits = self._rows.logits[:, candidates]
        return (self._factor * logits[self._streams]).sum(1) if self._is_guided else logits

    def feed(self, tokens: Tensor) -> None:
        """Go on with a token for each request, [requests]."""
        self._rows.feed(tokens[self._owner] if self._is_guided else tokens)

    def keep(self, requests: Sequence[int]) -> None:
        """Go on with these requests only."""
        first = np.cumsum([0, *map(len, self._shares)])
        self._rows.keep([row for request in requests for row in range(first[request], first[request + 1])])
        self._shares = [self._shares[request] for request in requests]
        self._arrange()

    def _arrange(self) -> None:
        """Which rows are whose. A request with fewer streams than another has its first once more, for nothing."""
        device, width = self._rows.logits.device, max(map(len, self._shares))
        self._is_guided = any(list(shares) != [1] for shares in self._shares)
        streams, factor = [], []
        owner: list[int] = []
        for request, shares in enumerate(self._shares):
            spare = width - len(shares)
            streams.append([len(owner) + index for index in range(len(shares))] + [len(owner)] * spare)
            factor.append([*shares, *[0.0] * spare])
            owner += [request] * len(shares)
        self._streams, self._owner = (torch.tensor(numbers, device=device) for numbers in (streams, owner))
        self._factor = torch.tensor(factor, device=device)[..., None]
