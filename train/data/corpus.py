"""The datasets a run trains on, as arrays: which examples there are, and which pairs are in-context examples of each.

The examples and their contexts come from manifest/, the tokens from tokens/, joined by the pairs' keys: contexts that
are chosen anew (RAIE) need no new tokens. A context may lie in another shard, or in another dataset, told by its place.
An example is 13 bytes, and 6 more for each context: 133 MB for the paper's 7 million. They lie in files that all
processes of a node map (train/data/arrays.py), so none holds them for itself.
"""

from __future__ import annotations

import fnmatch
import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manifests.dataset import Dataset
from manifests.records import parse_json
from manifests.schema import canonical_json, in_short
from manifests.storage import Store
from manifests.tokens import token_commit, token_folder
from train.data.arrays import EXAMPLE_KINDS as EXAMPLE_KINDS
from train.data.arrays import Keys, Source, build, described, mapped


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """The tokenised pairs of one dataset, numbered through its shards in order."""

    task: str
    """The dataset's name: its task, behind which one that was made again of a dataset's rejects says so."""
    sampled_as: str
    """The task by which rates may name it: that of both."""
    url: str
    shards: tuple[str, ...]
    starts: NDArray[np.int64]
    """Number of each shard's first pair, and last of all the number of pairs: [shards + 1]."""
    keys: Keys
    """Each pair's key as two numbers, [pairs, 2]; `key` is what manifests call it."""
    groups: NDArray[np.uint64]
    """A hash of the name of each pair's original picture or scene, the same in all datasets, [pairs]."""
    fingerprint: str
    tokenizer: Mapping[str, Any]

    @property
    def dataset(self) -> Dataset:
        """The dataset, opened anew: what is open does not survive a fork."""
        return Dataset(self.url)

    def key(self, pair: int) -> str:
        """A pair's key, 32 hex digits."""
        first, second = map(int, self.keys[pair])
        return f"{first:016x}{second:016x}"

    def place(self, pair: int) -> tuple[str, int]:
        """A pair's shard and its row in there."""
        shard = int(np.searchsorted(self.starts, pair, "right")) - 1
        return self.shards[shard], pair - int(self.starts[shard])


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """The examples of one dataset, in manifest order, [N] each, and their contexts, one after the other, [C] each."""

    starts: NDArray[np.int64]
    """Number of each shard's first example, and last of all N: [shards + 1]."""
    pair: NDArray[np.int32]
    code: NDArray[np.int8]
    """Index in EXAMPLE_KINDS."""
    contexts: NDArray[np.int64]
    """Where each example's contexts begin, the best first, and last of all their number C: [N + 1]."""
    context: NDArray[np.int32]
    """Number of a context's pair."""
    context_dataset: NDArray[np.int16]
    """Index of the dataset that this number is of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Datasets to train on, by index, and behind them those that only contexts come from."""

    arrays: str
    """The folder of the arrays, for `open` in another process of this node."""
    pairs: tuple[Pairs, ...]
    examples: tuple[Examples, ...]
    weights: tuple[float, ...]
    """Share of the documents that comes from each dataset trained on; they add up to 1."""
    rates: tuple[NDArray[np.float64], ...]
    """How often an example comes in an epoch of its dataset, by its code: [4] each."""
    tokenizer: Mapping[str, Any]
    contexts: bool = True
    """Whether examples have their in-context examples."""

    @classmethod
    def open(
        cls, urls: Sequence[str], recipe: str = "", sampling: Sequence[str] = (), *, folder: str = "", built: str = ""
    ) -> Corpus:
        """The datasets of recipe.json, mixed by its weights, or those at `urls`, mixed by their numbers of examples.

        `sampling` sets rates: "derain/reverse/describe=0.5", or with wildcards "*/*/describe=0". The arrays are looked
        for below `folder`, and kept there, or kept by nobody; `built` is where another process has them already. Raises
        ValueError, with the way out, for datasets without tokens, of two tokenizers, or with nothing to train on.
        """
        weighted = _recipe(recipe) if recipe else [(url, None) for url in urls]
        if built:
            return cls._of(Path(built), weighted, sampling)
        with tempfile.TemporaryDirectory() as passing:  # what is mapped stays until it is let go
            return cls._of(build([url for url, _ in weighted], folder or passing), weighted, sampling)

    @classmethod
    def _of(cls, folder: Path, weighted: Sequence[tuple[str, float | None]], sampling: Sequence[str]) -> Corpus:
        sources = described(folder)
        examples = tuple(_examples(folder, index, source) for index, source in enumerate(sources[: len(weighted)]))
        rates = tuple(_rates((source.sampled_as, source.task), sampling) for source in sources[: len(weighted)])
        return cls(
            arrays=str(folder),
            pairs=tuple(_pairs(folder, index, source) for index, source in enumerate(sources)),
            examples=examples,
            weights=_weights([weight for _, weight in weighted], rates, examples),
            rates=rates,
            tokenizer=sources[0].tokenizer,
        )

    @property
    def identity(self) -> str:
        """A hash of what a position in the data refers to: datasets, shards, numbers of examples, mixing."""
        known = [
            [pairs.task, pairs.fingerprint, pairs.shards, len(examples.pair), weight, rates.tolist()]
            for pairs, examples, weight, rates in zip(self.pairs, self.examples, self.weights, self.rates, strict=False)
        ]
        without = [] if self.contexts else [["without contexts"]]
        return hashlib.sha256(canonical_json([*known, *without]).encode()).hexdigest()

    def refuse_without_small_contexts(self, pixels: int) -> None:
        """Raises ValueError if in-context examples come from shards without tokens of images at `pixels`."""
        own = self.tokenizer["resolution_px"]
        if not 0 < pixels < own:
            raise ValueError(f"--context-pixels {pixels}: it must be below the {own} px of all images")
        for number in sorted({int(one) for rows in self.examples for one in np.unique(rows.context_dataset)}):
            known = self.pairs[number]
            there = set(known.dataset.store.names(token_folder(pixels)))
            if missing := sum(f"{name}.parquet" not in there for name in known.shards):
                raise ValueError(
                    f"{known.dataset.url}: {missing} of {len(known.shards)} shards have no tokens at {pixels} px for "
                    f"in-context examples: run xprompt tokens {known.task} --context-pixels {pixels}"
                )
            commit = token_commit(known.dataset, known.shards[0], pixels)
            if commit.tokenizer != {**known.tokenizer, "resolution_px": pixels}:
                raise ValueError(
                    f"{known.dataset.url}/{token_folder(pixels)} is of another tokenizer than tokens/: remove it and "
                    f"run xprompt tokens {known.task} --context-pixels {pixels} again"
                )

    def without_contexts(self) -> Corpus:
        """The same data for the arm "no context" of the paper's Tab. 4: no example has an in-context example."""
        examples = tuple(
            replace(one, contexts=np.broadcast_to(np.int64(0), one.contexts.shape)) for one in self.examples
        )
        return replace(self, examples=examples, contexts=False)

    @property
    def labels(self) -> list[str]:
        """Task, direction and kind of every sort of example: the keys of a run's losses."""
        return [self.label(index, code) for index in range(len(self.examples)) for code in range(len(EXAMPLE_KINDS))]

    def label(self, dataset: int, code: int) -> str:
        return "/".join((self.pairs[dataset].task, *EXAMPLE_KINDS[code]))


def _recipe(url: str) -> list[tuple[str, float | None]]:
    """URL and weight of each dataset of a recipe.json; the paths in it are relative to its folder."""
    folder, _, name = url.rpartition("/")
    try:
        entries = parse_json(Store(folder or ".").read(name))["datasets"]
        return [(f"{folder or '.'}/{entry['path']}", float(entry["weight"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = in_short(" ".join(repr(error).split()), 200)
        raise ValueError(f"{url} is not a recipe: pipelines/full_8m.py writes one ({why})") from error


def _pairs(folder: Path, index: int, source: Source) -> Pairs:
    return Pairs(
        task=source.task,
        sampled_as=source.sampled_as,
        url=source.url,
        shards=tuple(source.shards),
        starts=np.array(source.pair_starts),
        keys=mapped(folder, index, "keys"),
        groups=mapped(folder, index, "groups"),
        fingerprint=source.fingerprint,
        tokenizer=source.tokenizer,
    )


def _examples(folder: Path, index: int, source: Source) -> Examples:
    columns = {name: mapped(folder, index, name) for name in ("pair", "code", "contexts", "context", "context_dataset")}
    return Examples(starts=np.array(source.example_starts), **columns)


def _weights(
    given: Sequence[float | None], rates: Sequence[NDArray[np.float64]], examples: Sequence[Examples]
) -> tuple[float, ...]:
    """The share of each dataset trained on: by the weights given, else by how many examples an epoch of it has."""
    counts = [
        float(sum(rate[code] * np.count_nonzero(one.code == code) for code in range(len(EXAMPLE_KINDS))))
        for rate, one in zip(rates, examples, strict=True)
    ]
    weights = [count if weight is None else weight for count, weight in zip(counts, given, strict=True)]
    if not all(counts) or not all(weight > 0 for weight in weights):
        raise ValueError("a dataset has no examples, or a weight or all its rates are 0: leave it out")
    return tuple(weight / sum(weights) for weight in weights)


def _rates(names: Sequence[str], sampling: Iterable[str]) -> NDArray[np.float64]:
    """The rates of the four sorts of example of a dataset with these names; the last pattern that matches counts."""
    rates = np.ones(len(EXAMPLE_KINDS))
    for entry in sampling:
        pattern, _, rate = entry.rpartition("=")
        try:
            value = float(rate)
        except ValueError:
            value = -1.0
        if pattern.count("/") != 2 or not 0 <= value <= 1_000:
            raise ValueError(f"--sampling {entry}: it is TASK/DIRECTION/KIND=RATE, as in derain/reverse/describe=0.5")
        for code, (direction, kind) in enumerate(EXAMPLE_KINDS):
            if any(fnmatch.fnmatchcase(f"{name}/{direction}/{kind}", pattern) for name in names):
                rates[code] = value
    return rates
