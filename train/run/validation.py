"""The loss on examples that are held out, by task, direction and kind.

The examples are a fixed choice, as are the in-context examples that they show; each rank has its share of them, and
sums are taken over all, so that a loss is the same at any number of ranks but for the order of its sum. Nothing of it
touches the training stream or a random state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from manifests.schema import seed_for
from train.data.corpus import EXAMPLE_KINDS, Corpus
from train.data.loader import Fed
from train.data.shuffle import words
from train.data.stream import Library, NoData, Packed, StreamOptions
from train.evaluate.metrics import Tally, gathered
from xprompt_model.batch import MicroBatch, collate
from xprompt_model.layout import Document
from xprompt_model.mask import block_mask, dense_mask
from xprompt_model.model import XPromptChameleon
from xprompt_model.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An example that is validated on."""

    dataset: int
    example: int
    label: int
    """Index in Corpus.labels."""


def choose(corpus: Corpus, most: int) -> list[Chosen]:
    """At most so many examples of each task, direction and kind that is trained on, in an order of their own.

    The order goes round the labels, so that a few of the first are of as many labels as there are.
    """
    turns: list[tuple[int, Chosen]] = []
    for dataset, rows in enumerate(corpus.examples):
        order = words(seed_for(0, "validation", corpus.pairs[dataset].task), np.arange(len(rows.code)))
        for code in range(len(EXAMPLE_KINDS)):
            of = np.flatnonzero(rows.code == code)
            if corpus.rates[dataset][code] == 0:
                continue
            label = dataset * len(EXAMPLE_KINDS) + code
            for turn, example in enumerate(of[np.argsort(order[of], kind="stable")][:most]):
                turns.append((turn, Chosen(dataset=dataset, example=int(example), label=label)))
    return [chosen for _, chosen in sorted(turns, key=lambda entry: entry[0])]


class Validation:
    """The held-out examples of this rank, as micro-batches."""

    def __init__(
        self, corpus: Corpus, vocabulary: Vocabulary, options: StreamOptions, most: int, *, compress: bool
    ) -> None:
        """Read and lay out the examples; `most` are of each task, direction and kind.

        Raises ValueError if none of them fits into a window.
        """
        self._labels, self._compress = corpus.labels, compress
        # What is shown of an example depends on the seed; here it is that of no run.
        library = Library(corpus, vocabulary, replace(options, seed=0))
        mine = choose(corpus, most)[dist.get_rank() :: dist.get_world_size()]
        try:
            found = [(one, library.document(one.dataset, one.example, 0)) for one in mine]
        except NoData as error:
            raise ValueError(str(error)) from None
        documents = [(one.label, document) for one, document in found if document is not None]
        self._batches = [_fed(part, options.capacity) for part in _packed(documents, options.capacity)]
        self._padding = collate([], options.capacity)
        self._rounds = int(gathered(len(self._batches)).max())
        self.examples = int(gathered(len(documents)).sum())
        self.left_out = int(gathered(len(mine) - len(documents)).sum())
        if not self.examples:
            raise ValueError("no held-out example fits into a window: raise --validation-share or --window-tokens")

    def losses(self, model: XPromptChameleon, device: torch.device) -> dict[str, float]:
        """Nats a unit of loss weight: "loss", "loss_text", "loss_image", and by label. All ranks call it."""
        tally = Tally(self._labels)
        with torch.no_grad():
            for number in range(self._rounds):  # sharded weights are gathered for all: every rank has as many rounds
                fed = self._batches[number] if number < len(self._batches) else None
                batch: MicroBatch = (fed.batch if fed else self._padding).to(device)
                mask = (block_mask if device.type == "cuda" else dense_mask)(batch, causal=not self._compress)
                parts = model.loss(batch, mask)
                if fed:
                    tally.add(fed, parts)
        found: dict[str, Any] = tally.result()
        losses: dict[str, float] = found["loss_by"]
        return {name: found[name] for name in ("loss", "loss_text", "loss_image") if name in found} | losses


_Labelled = tuple[int, Document]


def _packed(documents: Sequence[_Labelled], capacity: int) -> Iterator[list[_Labelled]]:
    """The documents in their order, as many at a time as fit."""
    part: list[_Labelled] = []
    for entry in documents:
        if sum(len(document) for _, document in part) + len(entry[1]) > capacity:
            yield part
            part = []
        part.append(entry)
    if part:
        yield part


def _fed(part: Sequence[_Labelled], capacity: int) -> Fed:
    packed = Packed(
        stream=-1,
        documents=tuple(document for _, document in part),
        labels=tuple(label for label, _ in part),
        cursor={},
        reports=(),
        no_context=(),
        too_long=(),
    )
    return Fed.of(packed, capacity)
