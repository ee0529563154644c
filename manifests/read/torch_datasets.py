"""A dataset directory as PyTorch datasets of examples, with decoded images.

An item is a dictionary:

    pair, task, direction, kind     which example it is, strings
    instruction                     a string
    inputs                          a list of images, each a uint8 tensor 3 x H x W, upright RGB
    output                          the output image, the same; only of a generate example
    text                            the answer, a string; only of a describe example
    context                         the in-context example as such a dictionary; only if there is one

Images have the sizes that they are stored with: a `transform` that makes them one size lets PyTorch batch them.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from manifests.read.pairs import EXAMPLE_COLUMNS, StoredExample
from manifests.read.reader import Reader

Transform = Callable[[dict[str, Any]], Any]

_COLUMNS = ("pair", "task", "shard", "images", *EXAMPLE_COLUMNS)
_SHUFFLED_UNITS = 8  # whose examples are mixed with each other; their manifests are in memory together


class Examples(Dataset[Any]):
    """The examples of a dataset directory by their number, in stored order: a map-style dataset.

    It shows what was committed when it was made. The manifests of the units that are asked for stay in memory.
    """

    def __init__(self, reader: Reader, transform: Transform | None = None) -> None:
        self._reader, self._transform = reader, transform
        self._names = reader.unit_names()
        self._ends = list(itertools.accumulate(map(reader.rows_in, self._names)))
        self._tables: dict[str, pa.Table] = {}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Any:
        """An example's dictionary, or what the transform makes of it. Raises IndexError beyond the last."""
        place = range(len(self))[number]
        unit = bisect.bisect_right(self._ends, place)
        name = self._names[unit]
        if name not in self._tables:
            self._tables[name] = self._reader.table_of_unit(name, _COLUMNS)
        before = self._ends[unit - 1] if unit else 0
        item = _item(_example(self._reader, self._tables[name], place - before))
        return self._transform(item) if self._transform else item

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_tables": {}}


class StreamedExamples(IterableDataset[Any]):
    """The examples of a dataset directory as a stream that ranks and DataLoader workers share.

    In each epoch each example goes to one worker of one rank, and their numbers differ by one at most. `shuffle` puts
    the units in another order each epoch and mixes the examples of each _SHUFFLED_UNITS units that follow each other;
    call `set_epoch` before each epoch, as with PyTorch's DistributedSampler. Ranks are those of torch.distributed if
    it is initialised and no `rank` and `world_size` are given.

    `state_dict` and `load_state_dict` follow PyTorch's stateful protocol, as torchdata's StatefulDataLoader uses it:
    after a state is loaded, the next iteration goes on with the very example that would have come next. No image is
    read to get there.
    """

    def __init__(
        self,
        reader: Reader,
        transform: Transform | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if (rank is None) != (world_size is None):
            raise ValueError("rank and world_size are given together, or neither")
        if rank is not None and world_size is not None and not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of 0 to {world_size - 1}")
        self._reader, self._transform = reader, transform
        self._shuffle, self._seed = shuffle, seed
        self._given = None if rank is None or world_size is None else (rank, world_size)
        self._names = reader.unit_names()
        self._sizes = [reader.rows_in(name) for name in self._names]
        self._epoch = self._position = 0
        self._goes_on = False

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0. A loaded position is kept if it is of this epoch."""
        if epoch != self._epoch:
            self._epoch, self._position, self._goes_on = epoch, 0, False

    def __len__(self) -> int:
        """The number of this rank's examples in an epoch, of all its workers together."""
        rank, world_size = self._rank()
        total = sum(self._sizes)
        return total * (rank + 1) // world_size - total * rank // world_size

    def __iter__(self) -> Iterator[Any]:
        if not self._goes_on:
            self._position = 0
        self._goes_on = False
        skip = self._position
        for group in self._groups(*self._consumer()):
            size = sum(stop - start for _, start, stop in group)
            if skip >= size:
                skip -= size
                continue
            for table, row in self._order(group)[skip:]:
                self._position += 1
                item = _item(_example(self._reader, table, row))
                yield self._transform(item) if self._transform else item
            skip = 0

    def state_dict(self) -> dict[str, Any]:
        """The epoch and how many examples of it were given away here, with what their order depends on."""
        return {"epoch": self._epoch, "position": self._position, **self._order_of()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on after a state. Raises ValueError if it is one of another order of examples."""
        differing = [
            f"{name} {state.get(name)} there, {value} now"
            for name, value in self._order_of().items()
            if state.get(name) != value
        ]
        if differing:
            raise ValueError(f"the state is of another order of the examples of {self._reader.url}: {differing[0]}")
        self._epoch, self._position = state["epoch"], state["position"]
        self._goes_on = True

    def _order_of(self) -> dict[str, Any]:
        consumer, consumers = self._consumer()
        return {
            "examples": sum(self._sizes),
            "shuffle": self._shuffle,
            "seed": self._seed,
            "consumer": consumer,
            "consumers": consumers,
        }

    def _rank(self) -> tuple[int, int]:
        """The rank, and how many there are."""
        if self._given is not None:
            return self._given
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1

    def _consumer(self) -> tuple[int, int]:
        """The number of this worker among those of all ranks, and how many these are."""
        rank, world_size = self._rank()
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        return rank * workers + worker, world_size * workers

    def _groups(self, consumer: int, consumers: int) -> Iterator[list[tuple[int, int, int]]]:
        """The consumer's share of the epoch, a part of all units in line: groups of unit, first row and end."""
        total = sum(self._sizes)
        first, end = total * consumer // consumers, total * (consumer + 1) // consumers
        units = self._random(0).permutation(len(self._names)).tolist() if self._shuffle else range(len(self._names))
        parts, passed = [], 0
        for unit in units:
            size = self._sizes[unit]
            start, stop = max(first - passed, 0), min(end - passed, size)
            if start < stop:
                parts.append((unit, start, stop))
            passed += size
        at_once = _SHUFFLED_UNITS if self._shuffle else 1
        for number in range(0, len(parts), at_once):
            yield parts[number : number + at_once]

    def _order(self, group: list[tuple[int, int, int]]) -> list[tuple[pa.Table, int]]:
        """The group's rows, mixed if the stream is shuffled."""
        tables = [self._reader.table_of_unit(self._names[unit], _COLUMNS) for unit, _, _ in group]
        rows = [
            (table, row) for table, (_, start, stop) in zip(tables, group, strict=True) for row in range(start, stop)
        ]
        if not self._shuffle:
            return rows
        unit, start, _ = group[0]
        return [rows[place] for place in self._random(1, unit, start).permutation(len(rows))]

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._epoch, *purpose])

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is started afresh knows nothing of the process group.
        return {**vars(self), "_given": self._rank()}


def _example(reader: Reader, table: pa.Table, row: int) -> StoredExample:
    pair, number = reader.rows_of_pair(table, row)
    return pair.examples[number]


def _item(example: StoredExample, *, with_context: bool = True) -> dict[str, Any]:
    pair = example.pair
    item: dict[str, Any] = {
        "pair": pair.key,
        "task": pair.task,
        "direction": example.direction,
        "kind": example.kind,
        "instruction": example.instruction,
        "inputs": [_tensor(pair.image(role)) for role in example.inputs],
    }
    if example.output is not None:
        item["output"] = _tensor(pair.image(example.output))
    if example.text is not None:
        item["text"] = example.text
    if with_context and (context := example.context()) is not None:
        item["context"] = _item(context, with_context=False)
    return item


def _tensor(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    """H x W x 3 as a tensor 3 x H x W of its own: decoded pixels may be read-only."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
