"""A fixed set of held-out examples as pictures, answered by the model as it is.

From left to right: the in-context example's inputs and output, the query, the model's answer, the truth. All of them as
the VQ tokenizer gives them, which is the most that the answer can be. The same examples with the same random numbers
each time. `metrics.Log` puts them into OUT/samples/step-000500/0-derain-forward-generate.png and beside the curves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed.fsdp import FSDPModule

from train.data.corpus import EXAMPLE_KINDS, Corpus
from train.data.stream import Library, StreamOptions
from train.run.validation import choose
from xprompt_model.arm import Arm
from xprompt_model.generator import Generator, Request
from xprompt_model.layout import Turn
from xprompt_model.model import XPromptChameleon
from xprompt_model.vocabulary import Vocabulary
from xprompt_model.vqgan import VQGAN

Pixels = NDArray[np.uint8]

_GAP_PX = 4
_GREY = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class _Query:
    number: int
    name: str
    turn: Turn
    context: Turn | None


class Samples:
    """The queries of this rank, and on rank 0 what draws the answers of all."""

    def __init__(
        self, corpus: Corpus, vocabulary: Vocabulary, options: StreamOptions, vqgan: VQGAN, most: int, arm: Arm
    ) -> None:
        """Choose at most so many examples whose answer is a picture. `vqgan` needs a decoder."""
        self._vqgan, self._arm = vqgan, arm
        library = Library(corpus, vocabulary, replace(options, seed=0))
        pictured = [
            one for one in choose(corpus, most) if EXAMPLE_KINDS[one.label % len(EXAMPLE_KINDS)][1] == "generate"
        ]
        self._queries: list[_Query] = []
        ranks = dist.get_world_size()
        for number, one in list(enumerate(pictured[:most]))[dist.get_rank() :: ranks]:
            if library.document(one.dataset, one.example, 0) is None:  # it is too long, or its shard is bad
                continue
            turn, contexts = library.turns(one.dataset, one.example, 0)
            name = corpus.labels[one.label].replace("/", "-")
            # Of several in-context examples the first: pictures of all would be wider than a screen.
            self._queries.append(_Query(number=number, name=name, turn=turn, context=next(iter(contexts), None)))

    def draw(self, model: XPromptChameleon) -> dict[str, Pixels]:
        """Pictures by name, [h, w, 3], on rank 0; none on the others. All ranks call it."""
        with _whole(model):
            generator = Generator(model)
            mine = [(query, self._answer(generator, query)) for query in self._queries]
        model.train()
        gathered: list[list[tuple[_Query, NDArray[np.int64]]]] | None = None
        if dist.get_rank() == 0:
            gathered = [[] for _ in range(dist.get_world_size())]
        dist.gather_object(mine, gathered)
        answered = sorted((entry for part in gathered or [] for entry in part), key=lambda entry: entry[0].number)
        return {f"{query.number}-{query.name}": self._strip(query, answer) for query, answer in answered}

    def _answer(self, generator: Generator, query: _Query) -> NDArray[np.int64]:
        contexts = [generator.compress(query.context, keep_example=self._arm == "causal")] if query.context else []
        asked = Request(
            instruction=query.turn.instruction, inputs=query.turn.inputs, contexts=contexts, seed=query.number
        )
        (grid,) = generator.images([asked])
        return np.asarray(grid)

    def _strip(self, query: _Query, answer: NDArray[np.int64]) -> Pixels:
        context = (*query.context.inputs, query.context.output) if query.context else ()
        grids = [*context, *query.turn.inputs, answer, query.turn.output]
        pictures = [self._vqgan.picture(grid) for grid in grids]
        height = max(len(picture) for picture in pictures)  # a context's images may be smaller
        columns = [
            np.pad(one, ((0, height - len(one)), (0, _GAP_PX), (0, 0)), constant_values=_GREY) for one in pictures
        ]
        return np.concatenate(columns, 1)[:, :-_GAP_PX]


@contextmanager
def _whole(model: XPromptChameleon) -> Iterator[None]:
    """All weights on every rank, so that each can answer by itself: in the dtype of computation, 14 GB of a 7B.

    The weights are gathered at once, and not layer after layer for each token, on all ranks together.
    """
    root: object = model
    parts: Sequence[FSDPModule] = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            # The root stays whole until its gradients are made, as `fully_shard` has it.
            part.set_reshard_after_forward(part is not root, recurse=False)
