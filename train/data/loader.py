"""Feeds a rank its micro-batches, from DataLoader workers or in the process itself; their order is the same.

The run's micro-batches are numbered: 0 .. M - 1 are those of its first step. Number g comes from virtual stream g mod V
and goes to rank g mod W, so that the order is the same for any W that divides M and V. A worker has streams of its own.
"""

from __future__ import annotations

import gc
import itertools
import signal
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from train.data.corpus import Corpus
from train.data.stream import Cursor, Library, NoData, Packed, Stream, StreamOptions, refuse_other_order
from xprompt_model.batch import MicroBatch, collate
from xprompt_model.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, eq=False)
class Fed:
    """A micro-batch, and what the trainer has to know of it."""

    batch: MicroBatch
    labels: tuple[int, ...]
    """Index in Corpus.labels of each document."""
    tokens: int
    """The number of tokens that are not padding."""
    stream: int
    cursor: Cursor
    reports: tuple[str, ...]
    no_context: tuple[int, ...]
    too_long: tuple[int, ...]
    """As `Packed` has them."""

    @classmethod
    def of(cls, packed: Packed, capacity: int) -> Fed:
        return cls(
            batch=collate(packed.documents, capacity),
            labels=packed.labels,
            tokens=sum(map(len, packed.documents)),
            stream=packed.stream,
            cursor=packed.cursor,
            reports=packed.reports,
            no_context=packed.no_context,
            too_long=packed.too_long,
        )


class _MicroBatches(IterableDataset[Fed | str]):
    """The micro-batches of one rank. An error for the user comes as its text, which a worker would make a traceback."""

    def __init__(
        self,
        corpus: Corpus,
        vocabulary: Vocabulary,
        options: StreamOptions,
        rank: int,
        ranks: int,
        first: int,
        cursors: Mapping[int, Cursor],
    ) -> None:
        self._corpus, self._vocabulary, self._options = corpus, vocabulary, options
        self._rank, self._ranks, self._first, self._cursors = rank, ranks, first, cursors

    def __iter__(self) -> Iterator[Fed | str]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        library = Library(self._corpus, self._vocabulary, self._options)
        streams: dict[int, Iterator[Packed]] = {}
        try:
            for number in itertools.count(self._first + worker, workers):
                stream = (self._rank + self._ranks * number) % self._options.streams
                if stream not in streams:
                    streams[stream] = iter(Stream(library, stream, self._cursors.get(stream)))
                yield Fed.of(next(streams[stream]), self._options.capacity)
        except (NoData, OSError) as error:
            yield " ".join(str(error).split())


def feed(
    corpus: Corpus,
    vocabulary: Vocabulary,
    options: StreamOptions,
    *,
    rank: int,
    ranks: int,
    workers: int,
    first: int,
    cursors: Mapping[int, Cursor],
) -> Generator[Fed, None, None]:
    """A rank's micro-batches without end, beginning with its `first`-th, each stream where its cursor left it.

    Closing it ends its workers. Raises ValueError, one line, if the streams cannot be shared evenly by the ranks and
    their workers, cannot go on, or their cursors are of another data order.
    """
    if options.streams % (ranks * max(1, workers)):
        raise ValueError(f"{options.streams} streams cannot be shared by {ranks} ranks with {workers} workers each")
    for cursor in cursors.values():
        refuse_other_order(cursor)
    dataset = _MicroBatches(corpus, vocabulary, options, rank, ranks, first, cursors)
    # Garbage is collected here, where its threads are: collected by a forked worker, the process group of an earlier
    # training would wait there for its threads for ever.
    gc.collect()
    batches = iter(DataLoader(dataset, batch_size=None, num_workers=workers, worker_init_fn=_leave_signals))
    try:
        for fed in batches:
            if isinstance(fed, str):
                raise ValueError(fed)
            yield fed
    finally:
        # Workers do not end by SIGTERM, by which Python would end them at its own end, and then wait for ever: as long
        # as a traceback holds the iterator, nothing else ends them.
        if isinstance(batches, _MultiProcessingDataLoaderIter):
            batches._shutdown_workers()


def _leave_signals(worker: int) -> None:
    """A signal to all processes is the trainer's to answer: a worker goes on, as its handlers, inherited, have it.

    PyTorch has put its own in the place of SIGTERM's, which ends the worker and with it the run.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
