"""The data stream: V virtual streams over a corpus, each of which packs its own micro-batches and keeps its own cursor.

Stream v takes the examples v, v + V, v + 2V ... of each dataset's endless order, epoch after epoch, so that over all
streams each example comes exactly once an epoch. Which dataset is next, it draws by weight. V does not depend on how
many ranks and workers share the streams, and a cursor travels with each micro-batch: training resumes exactly, at any
world size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from manifests.schema import seed_for
from train.data.corpus import EXAMPLE_KINDS, Corpus
from train.data.packing import best_fit
from train.data.shuffle import EpochOrder, uniform
from train.data.tokens import BadShard, Sample, read_shard
from xprompt_model.layout import DEFAULT_WEIGHTS, IE, Document, TooLong, Turn, Weights, build_document, turn_tokens
from xprompt_model.vocabulary import Vocabulary

Cursor = dict[str, Any]
"""A stream's position as JSON:
{"order": ORDER, "draws": n, "at": [[epoch, position] per dataset], "open": [[dataset, example, epoch] per buffered
document]}."""

ORDER = 2
"""The version of the data order; of the first, in which one shard was read at a time, a cursor has none."""


_MAX_LEFT_OUT = 1_000
"""Examples looked at for one micro-batch, before it is said that nothing can be trained on."""


class NoData(Exception):
    """The stream cannot go on: more shards are refused than may be, or all examples are left out. One line."""


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """What decides which tokens come in which order; nothing else does."""

    seed: int
    streams: int
    window_tokens: int
    """The most tokens that a document may have."""
    windows: int
    """The number of windows in a micro-batch."""
    buffer_windows: int
    """A micro-batch is chosen from documents that would fill this many windows."""
    xp_tokens: int
    weights: Weights = DEFAULT_WEIGHTS
    examples: int = 1
    """In-context examples of a document, at most: as many as it has, and as fit into the window."""
    context_pixels: int = 0
    """The side of the in-context examples' images, px, of which there must be tokens; 0: as all images."""
    max_bad_shards: int
    """More refused shards than these end the run."""
    cached_shards: int
    """Shards kept in memory, some 5 MB each."""
    interleaved_shards: int
    """Shards that examples come from at a time, of all datasets by their weights, but at least one of each."""

    @property
    def capacity(self) -> int:
        """Tokens of a micro-batch."""
        return self.windows * self.window_tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """The documents of one micro-batch, and the cursor with which the stream goes on after it."""

    stream: int
    documents: tuple[Document, ...]
    labels: tuple[int, ...]
    """Index of each document's label in Corpus.labels."""
    cursor: Cursor
    reports: tuple[str, ...]
    """What was left out since the micro-batch before, and why."""
    no_context: tuple[int, ...]
    """Labels of those of the documents whose in-context examples did not fit into the window, none of them."""
    too_long: tuple[int, ...]
    """Labels of the examples that were themselves left out since the micro-batch before, being too long."""


class Library:
    """Turns an example's number into its document. The streams of one process share it, its shards and its orders."""

    def __init__(self, corpus: Corpus, vocabulary: Vocabulary, options: StreamOptions) -> None:
        self.corpus, self.options = corpus, options
        self._vocabulary = vocabulary
        self._datasets = [pairs.dataset for pairs in corpus.pairs]  # this process's own
        self._shards: OrderedDict[tuple[int, str, int], list[Sample]] = OrderedDict()
        self._bad: dict[tuple[int, str, int], str] = {}
        self._reports: list[str] = []
        self._too_long: list[int] = []
        self._context_side = vocabulary.image_side_tokens
        if options.context_pixels:
            self._context_side = self._context_side * options.context_pixels // corpus.tokenizer["resolution_px"]
        self.order = lru_cache(maxsize=2 * len(corpus.examples))(self._order)

    def document(self, dataset: int, example: int, epoch: int) -> Document | None:
        """An example's document in an epoch, or None, with a report, where there is none to train on.

        Of its contexts as many as `examples` says are shown, drawn by the run's seed, the example and the epoch. One
        that would make the document longer than a window is left out: three images, and three more, are 6K tokens. An
        example whose context alone says what its image is to be like, a pose, is left out itself if none fits. Raises
        NoData when more shards are refused than may be.
        """
        try:
            turn, contexts = self.turns(dataset, example, epoch)
            return build_document(
                turn,
                contexts,
                self._vocabulary,
                window_tokens=self.options.window_tokens,
                xp_tokens=self.options.xp_tokens,
                weights=self.options.weights,
            )
        except BadShard:
            return None
        except ValueError as error:
            if isinstance(error, TooLong):
                self._too_long.append(self.label(dataset, example))
            label = self.corpus.label(dataset, int(self.corpus.examples[dataset].code[example]))
            self._reports.append(f"left out: example {example} of {label}: {error}")
            return None

    def turns(self, dataset: int, example: int, epoch: int) -> tuple[Turn, list[Turn]]:
        """What `document` lays out: an example's turn, and the in-context examples that it shows.

        Raises BadShard, TooLong, or ValueError if a pair lacks the example.
        """
        rows = self.corpus.examples[dataset]
        name = EXAMPLE_KINDS[rows.code[example]]
        turn = self._sample(dataset, int(rows.pair[example]), name).turns[name]
        chosen = self._contexts(dataset, example, epoch)
        places = [(int(rows.context_dataset[one]), int(rows.context[one])) for one in chosen]
        small = bool(self.options.context_pixels)
        contexts = [self._sample(*place, name, small=small).shown(name) for place in places]
        return turn, self._fitting(turn, contexts)

    def label(self, dataset: int, example: int) -> int:
        """Index of an example's label in Corpus.labels."""
        return dataset * len(EXAMPLE_KINDS) + int(self.corpus.examples[dataset].code[example])

    def reports(self) -> tuple[str, ...]:
        """What was left out since the last call."""
        reports, self._reports = tuple(self._reports), []
        return reports

    def too_long(self) -> tuple[int, ...]:
        """The labels of the examples that were left out since the last call, being too long."""
        labels, self._too_long = tuple(self._too_long), []
        return labels

    def lost_its_context(self, document: Document, dataset: int, example: int) -> bool:
        """Whether an example has contexts, and its document none of them."""
        first, end = self.corpus.examples[dataset].contexts[example : example + 2]
        return bool(first < end) and not (document.segment == IE).any()

    def _contexts(self, dataset: int, example: int, epoch: int) -> list[int]:
        """Which of a dataset's contexts an example is to show in an epoch, each once; none if it has none."""
        first, end = map(int, self.corpus.examples[dataset].contexts[example : example + 2])
        left, chosen = list(range(first, end)), list[int]()
        while left and len(chosen) < self.options.examples:
            further = [str(len(chosen))] if chosen else []
            seed = seed_for(self.options.seed, self.corpus.pairs[dataset].task, "context", str(epoch), *further)
            chosen.append(left.pop(int(uniform(seed, np.array([example]))[0] * len(left))))
        return chosen

    def _fitting(self, turn: Turn, contexts: Sequence[Turn]) -> list[Turn]:
        """Those of the contexts, in their order, that fit into the window. Raises TooLong if one must and none does."""
        room, shown = self.options.window_tokens - turn_tokens(turn), list[Turn]()
        for context in contexts:
            needed = turn_tokens(context) + self.options.xp_tokens
            if needed <= room:
                shown.append(context)
                room -= needed
        if not shown and any(context.inputs for context in contexts) and not turn.inputs:
            window = self.options.window_tokens
            raise TooLong(f"with its in-context example it does not fit into a window of {window:,} tokens")
        return shown

    def _order(self, dataset: int, epoch: int) -> EpochOrder:
        corpus, rows = self.corpus, self.corpus.examples[dataset]
        interleaved = round(self.options.interleaved_shards * corpus.weights[dataset])
        task, rates = corpus.pairs[dataset].task, corpus.rates[dataset]
        return EpochOrder(self.options.seed, task, epoch, rows.starts, rows.code, rates, max(1, interleaved))

    def _sample(self, dataset: int, pair: int, name: tuple[str, str], *, small: bool = False) -> Sample:
        """A pair that has an example of that direction and kind, `small` with the images of in-context examples."""
        pairs = self.corpus.pairs[dataset]
        shard, row = pairs.place(pair)
        sample = self._shard(dataset, shard, self.options.context_pixels if small else 0)[row]
        if name not in sample.turns:
            raise ValueError(f"pair {sample.pair} has no {' '.join(name)} example")
        return sample

    def _shard(self, dataset: int, name: str, pixels: int) -> list[Sample]:
        key = (dataset, name, pixels)
        if key in self._bad:
            raise BadShard(self._bad[key])
        if key not in self._shards:
            try:
                side = self._context_side if pixels else self._vocabulary.image_side_tokens
                source = self._datasets[dataset]
                self._shards[key] = read_shard(source, name, self._vocabulary, pixels=pixels, side_tokens=side)
            except BadShard as error:
                self._bad[key] = str(error)
                if len(self._bad) > self.options.max_bad_shards:
                    raise NoData(f"{error} ({len(self._bad)} bad, {self.options.max_bad_shards} allowed)") from None
                self._reports.append(f"left out: {error}")
                raise
            if len(self._shards) > self.options.cached_shards:
                self._shards.popitem(last=False)
        self._shards.move_to_end(key)
        return self._shards[key]


class Stream:
    """One virtual stream. Iterating packs micro-batch after micro-batch, without end."""

    def __init__(self, library: Library, number: int, cursor: Cursor | None = None) -> None:
        """Start the stream at its beginning, or where a cursor of an earlier run left it."""
        self._library, self._number = library, number
        sets = len(library.corpus.examples)
        cursor = cursor or {"order": ORDER, "draws": 0, "at": [[0, number]] * sets, "open": []}
        refuse_other_order(cursor)
        if len(cursor["at"]) != sets:
            raise ValueError(f"the checkpoint's data position is of {len(cursor['at'])} datasets, these are {sets}")
        self._draws: int = cursor["draws"]
        self._at = [list(at) for at in cursor["at"]]
        self._open: list[tuple[tuple[int, int, int], Document]] = []
        for dataset, example, epoch in cursor["open"]:
            self._buffer(dataset, example, epoch)
        self._mix_seed = seed_for(library.options.seed, "mix", str(number))
        self._ends = np.cumsum(library.corpus.weights)

    def __iter__(self) -> Iterator[Packed]:
        options = self._library.options
        enough = options.buffer_windows * options.window_tokens
        while True:
            for _ in range(_MAX_LEFT_OUT):
                if sum(len(document) for _, document in self._open) >= enough:
                    break
                self._buffer(*self._next())
            else:
                *_, last = ("their shards are bad", *self._library.reports())
                raise NoData(f"nothing to train on, {_MAX_LEFT_OUT:,} examples in a row: {last}")
            lengths = [len(document) for _, document in self._open]
            chosen = set(best_fit(lengths, options.capacity))
            taken = [entry for index, entry in enumerate(self._open) if index in chosen]
            self._open = [entry for index, entry in enumerate(self._open) if index not in chosen]
            yield Packed(
                stream=self._number,
                documents=tuple(document for _, document in taken),
                labels=tuple(self._library.label(dataset, example) for (dataset, example, _), _ in taken),
                cursor=self._cursor(),
                reports=self._library.reports(),
                no_context=tuple(
                    self._library.label(dataset, example)
                    for (dataset, example, _), document in taken
                    if self._library.lost_its_context(document, dataset, example)
                ),
                too_long=self._library.too_long(),
            )

    def _cursor(self) -> Cursor:
        return {
            "order": ORDER,
            "draws": self._draws,
            "at": [list(at) for at in self._at],
            "open": [[*name] for name, _ in self._open],
        }

    def _next(self) -> tuple[int, int, int]:
        """The next example: its dataset's index, its number, and the epoch of its dataset."""
        drawn = uniform(self._mix_seed, np.array([self._draws]))[0] * self._ends[-1]
        dataset = min(int(np.searchsorted(self._ends, drawn, "right")), len(self._ends) - 1)
        self._draws += 1
        at = self._at[dataset]
        # Epochs follow each other without a seam: what is beyond the end of one is in the next.
        while at[1] >= len(order := self._library.order(dataset, at[0])):
            at[:] = at[0] + 1, at[1] - len(order)
        example, epoch = int(order[at[1]]), at[0]
        at[1] += self._library.options.streams
        return dataset, example, epoch

    def _buffer(self, dataset: int, example: int, epoch: int) -> None:
        document = self._library.document(dataset, example, epoch)
        if document is not None:
            self._open.append(((dataset, example, epoch), document))


def refuse_other_order(cursor: Cursor) -> None:
    """Raises ValueError, one line, for a cursor of another data order: a position in it means other examples here."""
    if (there := cursor.get("order", 1)) != ORDER:
        raise ValueError(
            f"the checkpoint's data position is of data order {there}, this version has {ORDER}: choose another --out, "
            "or finish the run with the version that began it"
        )
