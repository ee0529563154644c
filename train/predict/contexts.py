"""Which in-context examples each prediction has: the same, some by seed, or the nearest by instruction (RAIE)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from manifests.dataset import Dataset
from manifests.read.places import folder_of, url_at
from manifests.schema import DatasetError, Direction, seed_for
from operators.shared.texts import Vectors
from train.evaluate.predictions import Example

Policy = Literal["none", "fixed", "seeded", "raie"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

Embed = Callable[[Sequence[str]], Vectors]
"""Turns texts into vectors, [n, d], of length 1."""

_COLUMNS = ["pair", "direction", "kind", "instruction", "inputs"]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The in-context example of a prediction: a pair's generate example of the same direction."""

    dataset: Dataset
    pair: str
    direction: Direction
    score: float | None = None
    """Cosine similarity of its instruction, where it was found by that."""


class Contexts(Protocol):
    """Says which in-context examples an example has."""

    def of(self, example: Example, count: int) -> list[Chosen]:
        """So many at most, each another pair, in their order; fewer if there are no more for it.

        Raises ValueError, with the way out, if what was asked for is not there.
        """
        ...


class Nothing:
    """No in-context examples."""

    def of(self, example: Example, count: int) -> list[Chosen]:
        return []


@dataclass(frozen=True)
class Named:
    """The same pairs for all; one that is itself asked for is left out there: it would show its own answer."""

    places: Mapping[str, Dataset]
    """The dataset of each pair."""

    def of(self, example: Example, count: int) -> list[Chosen]:
        """Raises ValueError if a pair has no example of that direction with as many inputs."""
        pairs = [pair for pair in self.places if pair != example.pair][:count]
        for pair in pairs:
            try:
                inputs = self.places[pair][pair].example(example.direction, "generate").inputs
            except KeyError as error:
                raise ValueError(f"--context: {error.args[0]}") from None
            if len(inputs) != len(example.inputs):
                raise ValueError(
                    f"--context {pair} has {len(inputs)} input images, {example.pair} has {len(example.inputs)}"
                )
        return [Chosen(dataset=self.places[pair], pair=pair, direction=example.direction) for pair in pairs]


@dataclass(frozen=True)
class Drawn:
    """Pairs of some datasets, by seed: for each example, or the same for all of a task."""

    pool: Pool
    seed: int
    same: bool

    def of(self, example: Example, count: int) -> list[Chosen]:
        """Raises ValueError if the datasets have no example of the kind."""
        rows = self.pool.rows(example)
        name = example.task if self.same else example.pair
        places = _drawn(len(rows), count, self.seed, name, example.direction)
        return [self.pool.chosen(example, int(rows[place])) for place in places]


@dataclass(frozen=True)
class Nearest:
    """The pairs of some datasets whose instructions are nearest; of equally near ones those of the lowest keys."""

    pool: Pool
    embed: Embed

    def of(self, example: Example, count: int) -> list[Chosen]:
        """Raises ValueError if the datasets have no example of the kind."""
        rows = self.pool.rows(example, any_task=True)
        asked = self.embed([example.instruction])[0]
        scores = np.round(self._features[self.pool.texts[rows]] @ asked, 6)  # float32 says no more
        count = min(count, len(rows))
        near = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
        best = sorted(near, key=lambda place: (-scores[place], self.pool.pairs[rows[place]]))[:count]
        return [self.pool.chosen(example, int(rows[place]), float(scores[place])) for place in best]

    @cached_property
    def _features(self) -> Vectors:
        return self.embed(self.pool.said)


class Ranked:
    """Of those that `xprompt contexts` ranked for the example: the best, or some by seed."""

    def __init__(self, seed: int, *, best: bool, may_show: Callable[[Dataset], None]) -> None:
        """`may_show` raises ValueError for a dataset that no context may come from."""
        self._seed, self._best, self._may_show = seed, best, may_show
        self._opened: dict[str, Dataset] = {}

    def of(self, example: Example, count: int) -> list[Chosen]:
        """Raises ValueError if there are none, or if they are of the example's own dataset."""
        url = example.dataset.url
        way_out = f"run `xprompt contexts {url} --database TRAINING`, or give --contexts-from"
        if not example.contexts:
            raise ValueError(f"{url}: pair {example.pair} has no ranked contexts: {way_out}")
        there = len(example.contexts)
        drawn = _drawn(there, count, self._seed, example.pair, example.direction)
        return [self._chosen(example, place, way_out) for place in (range(min(count, there)) if self._best else drawn)]

    def _chosen(self, example: Example, rank: int, way_out: str) -> Chosen:
        named = example.contexts[rank]
        if named["dataset"] is None:
            raise ValueError(f"{example.dataset.url}: its ranked contexts are pairs of its own: {way_out}")
        place = url_at(example.dataset.url, named["dataset"])
        if place not in self._opened:
            dataset = Dataset(place)
            self._may_show(dataset)
            self._opened[place] = dataset
        return Chosen(
            dataset=self._opened[place], pair=named["pair"], direction=example.direction, score=named["score"]
        )


def _drawn(there: int, count: int, seed: int, name: str, direction: Direction) -> list[int]:
    """So many of `there` places at most, each once, in the order in which they are drawn."""
    drawn = list[int]()
    while len(drawn) < min(count, there):
        further = [str(len(drawn))] if drawn else []
        place = seed_for(seed, "context", name, direction, *further) % (there - len(drawn))
        for taken in sorted(drawn):  # the places that are left, counted without those that are drawn
            place += taken <= place
        drawn.append(place)
    return drawn


class Pool:
    """The generate examples of some datasets, by direction and number of inputs. Some 100 bytes each in memory."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        """Raises DatasetError if a manifest cannot be read, or a dataset may still grow."""
        self._datasets = datasets
        self.pairs: list[str] = []
        """The pair's key of each row."""
        self.said: list[str] = []
        """The distinct instructions."""
        numbers: dict[str, int] = {}
        texts, groups = list[int](), defaultdict[tuple[str, str, int], list[int]](list)
        self._of: list[int] = []
        for index, dataset in enumerate(datasets):
            plan = dataset.plan()
            if missing := plan.units - len(dataset.committed()):
                raise DatasetError(f"{dataset.url} is unfinished, {missing} units are missing: run what makes it again")
            task = str(plan.config.get("task", plan.task))  # one that was made again of rejects has another name
            for row in dataset.rows(_COLUMNS):
                if row["kind"] == "generate":
                    groups[task, row["direction"], len(row["inputs"])].append(len(self.pairs))
                    self.pairs.append(row["pair"])
                    self._of.append(index)
                    texts.append(numbers.setdefault(row["instruction"], len(numbers)))
        self.said = [*numbers]
        self.texts: NDArray[np.int64] = np.array(texts, np.int64)
        """The number of each row's instruction."""
        self._groups: Mapping[tuple[str, str, int], NDArray[np.int64]] = {
            key: np.array(rows, np.int64) for key, rows in groups.items()
        }

    def rows(self, example: Example, *, any_task: bool = False) -> NDArray[np.int64]:
        """The rows of an example's direction with as many inputs: those of its own task, if there are any and no other
        will do as well. Raises ValueError if there is none."""
        kind = (example.direction, len(example.inputs))
        own = self._groups.get((example.task, *kind))
        if own is not None and not any_task:
            return own
        found = [rows for key, rows in self._groups.items() if key[1:] == kind]
        if not found:
            names = ", ".join(dataset.url for dataset in self._datasets)
            raise ValueError(
                f"{names}: no {example.direction} generate example with {len(example.inputs)} input images"
            )
        return np.sort(np.concatenate(found))

    def chosen(self, example: Example, row: int, score: float | None = None) -> Chosen:
        """What is in a row, for an example."""
        dataset = self._datasets[self._of[row]]
        return Chosen(dataset=dataset, pair=self.pairs[row], direction=example.direction, score=score)


def refuse_as_context(dataset: Dataset, asked: Sequence[Dataset]) -> None:
    """Raises ValueError for a dataset that no context may come from: a test split, or one that is predicted."""
    if folder_of(dataset.url) in {folder_of(one.url) for one in asked}:
        raise ValueError(f"{dataset.url} is what is predicted: contexts come from data to train on")
    if split := dataset.plan().test_split:
        raise ValueError(f"{dataset.url} is of the split {split}: contexts come from data to train on")
