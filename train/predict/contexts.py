"""Which in-context example each prediction has: the same, one by seed, or the nearest by instruction (RAIE)."""

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
    """Says which in-context example an example has."""

    def of(self, example: Example) -> Chosen | None:
        """None if there is none for it. Raises ValueError, with the way out, if what was asked for is not there."""
        ...


class Nothing:
    """No in-context examples."""

    def of(self, example: Example) -> Chosen | None:
        return None


@dataclass(frozen=True)
class Named:
    """One pair for all; the pair itself, if it is asked for, has none: it would show its own answer."""

    dataset: Dataset
    pair: str

    def of(self, example: Example) -> Chosen | None:
        """Raises ValueError if the pair has no example of that direction with as many inputs."""
        if self.pair == example.pair:
            return None
        try:
            inputs = self.dataset[self.pair].example(example.direction, "generate").inputs
        except KeyError as error:
            raise ValueError(f"--context: {error.args[0]}") from None
        if len(inputs) != len(example.inputs):
            raise ValueError(
                f"--context {self.pair} has {len(inputs)} input images, {example.pair} has {len(example.inputs)}"
            )
        return Chosen(dataset=self.dataset, pair=self.pair, direction=example.direction)


@dataclass(frozen=True)
class Drawn:
    """One pair of some datasets, by seed: for each example, or the same for each of a task."""

    pool: Pool
    seed: int
    same: bool

    def of(self, example: Example) -> Chosen | None:
        """Raises ValueError if the datasets have no example of the kind."""
        rows = self.pool.rows(example)
        name = example.task if self.same else example.pair
        return self.pool.chosen(example, int(rows[seed_for(self.seed, "context", name, example.direction) % len(rows)]))


@dataclass(frozen=True)
class Nearest:
    """The pair of some datasets whose instruction is nearest; of equally near ones that of the lowest key."""

    pool: Pool
    embed: Embed

    def of(self, example: Example) -> Chosen | None:
        """Raises ValueError if the datasets have no example of the kind."""
        rows = self.pool.rows(example, any_task=True)
        asked = self.embed([example.instruction])[0]
        scores = np.round(self._features[self.pool.texts[rows]] @ asked, 6)  # float32 says no more
        best = np.flatnonzero(scores == scores.max())
        place = min(best, key=lambda place: self.pool.pairs[rows[place]])
        return self.pool.chosen(example, int(rows[place]), float(scores[place]))

    @cached_property
    def _features(self) -> Vectors:
        return self.embed(self.pool.said)


class Ranked:
    """Of those that `xprompt contexts` ranked for the example: the best, or one by seed."""

    def __init__(self, seed: int, *, best: bool, may_show: Callable[[Dataset], None]) -> None:
        """`may_show` raises ValueError for a dataset that no context may come from."""
        self._seed, self._best, self._may_show = seed, best, may_show
        self._opened: dict[str, Dataset] = {}

    def of(self, example: Example) -> Chosen | None:
        """Raises ValueError if there are none, or if they are of the example's own dataset."""
        url = example.dataset.url
        way_out = f"run `xprompt contexts {url} --database TRAINING`, or give --contexts-from"
        if not example.contexts:
            raise ValueError(f"{url}: pair {example.pair} has no ranked contexts: {way_out}")
        drawn = seed_for(self._seed, "context", example.pair, example.direction) % len(example.contexts)
        named = example.contexts[0 if self._best else drawn]
        if named["dataset"] is None:
            raise ValueError(f"{url}: its ranked contexts are pairs of its own: {way_out}")
        place = url_at(url, named["dataset"])
        if place not in self._opened:
            dataset = Dataset(place)
            self._may_show(dataset)
            self._opened[place] = dataset
        return Chosen(
            dataset=self._opened[place], pair=named["pair"], direction=example.direction, score=named["score"]
        )


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
