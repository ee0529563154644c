"""The datasets a run trains on, as arrays: which examples there are, and which pairs are in-context examples of each.

The examples and their contexts come from manifest/, the tokens from tokens/, joined by the pairs' keys: contexts that
are chosen anew (RAIE) need no new tokens. A context may lie in another shard, or in another dataset, told by its place.
In memory an example is 13 bytes, and 6 more for each context, so every process holds all of them: 133 MB for the
paper's 7 million.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.dataset import Dataset
from manifests.read.places import folder_of, url_at
from manifests.records import parse_json
from manifests.schema import canonical_json, in_short
from manifests.storage import Store
from manifests.tokens import TokenCommit, token_commit, token_folder
from manifests.write.contexts import read_columns
from operators.shared.palettes import UNSEEN_PALETTE
from train.data.tokens import read_commit

EXAMPLE_KINDS = tuple((direction, kind) for direction in ("forward", "reverse") for kind in ("generate", "describe"))
"""The direction and the kind of an example, by its code."""

_NAMES = pa.array([f"{direction} {kind}" for direction, kind in EXAMPLE_KINDS])
_COLUMNS = ["pair", "direction", "kind", "contexts"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """The tokenised pairs of one dataset, numbered through its shards in order."""

    task: str
    """The dataset's name: its task, behind which one that was made again of a dataset's rejects says so."""
    sampled_as: str
    """The task by which rates may name it: that of both."""
    dataset: Dataset
    shards: tuple[str, ...]
    starts: NDArray[np.int64]
    """Number of each shard's first pair, and last of all the number of pairs: [shards + 1]."""
    keys: pa.ChunkedArray
    fingerprint: str
    tokenizer: Mapping[str, Any]

    def place(self, pair: int) -> tuple[str, int]:
        """A pair's shard and its row in there."""
        shard = int(np.searchsorted(self.starts, pair, "right")) - 1
        return self.shards[shard], pair - int(self.starts[shard])

    def shard_of(self, pairs: NDArray[np.int32]) -> NDArray[np.int32]:
        """The number of each pair's shard."""
        return (np.searchsorted(self.starts, pairs, "right") - 1).astype(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """The examples of one dataset, in manifest order, [N] each, and their contexts, one after the other, [C] each."""

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
    def open(cls, urls: Sequence[str], recipe: str = "", sampling: Sequence[str] = ()) -> Corpus:
        """The datasets of recipe.json, mixed by its weights, or those at `urls`, mixed by their numbers of examples.

        `sampling` sets rates: "derain/reverse/describe=0.5", or with wildcards "*/*/describe=0". Raises ValueError,
        with the way out, for datasets without tokens, of two tokenizers, or with nothing to train on.
        """
        weighted = _recipe(recipe) if recipe else [(url, None) for url in urls]
        trained = [_pairs(Dataset(url)) for url, _ in weighted]
        if len({known.task for known in trained}) < len(trained):
            raise ValueError(f"a task is there twice: {', '.join(known.task for known in trained)}")
        columns = [_columns(known) for known in trained]
        pairs = [*trained, *_context_only(trained, columns)]
        _check_one_tokenizer(pairs)
        examples = tuple(_examples(table, index, pairs) for index, table in enumerate(columns))
        rates = tuple(_rates((known.sampled_as, known.task), sampling) for known in trained)
        return cls(
            pairs=tuple(pairs),
            examples=examples,
            weights=_weights([weight for _, weight in weighted], rates, examples),
            rates=rates,
            tokenizer=pairs[0].tokenizer,
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
        examples = tuple(replace(one, contexts=np.zeros_like(one.contexts)) for one in self.examples)
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


def _pairs(dataset: Dataset) -> Pairs:
    """The tokenised pairs of a dataset, all of whose units must have their tokens."""
    if not dataset.store.exists("plan.parquet"):
        raise ValueError(f"there is no dataset at {dataset.url}: run make shards TASK={dataset.url.rpartition('/')[2]}")
    plan = dataset.plan()
    if plan.test_split:
        raise ValueError(f"{dataset.url} is of the split {plan.test_split}: it is evaluated on, and never trained on")
    if any(operator.get("palette") == UNSEEN_PALETTE for operator in plan.config.get("operators", ())):
        raise ValueError(f"{dataset.url} is drawn in the palette {UNSEEN_PALETTE}, which is never trained on")
    names = tuple(plan.name(unit) for unit in sorted(dataset.committed()))
    there = {name.removesuffix(".parquet") for name in dataset.store.names("tokens") if name.endswith(".parquet")}
    if not names or (missing := sum(name not in there for name in names)):
        left = f"{missing} of {len(names)} shards have no tokens" if names else "it has no shards"
        raise ValueError(f"{dataset.url}: {left}: run make tokens TASK={plan.task}")
    read = [read_commit(dataset, name) for name in names]
    commits: list[TokenCommit] = [commit for commit, _ in read]
    if any((it.fingerprint, it.tokenizer) != (commits[0].fingerprint, commits[0].tokenizer) for it in commits):
        raise ValueError(f"{dataset.url}/tokens is of two tokenizers: remove it and run make tokens TASK={plan.task}")
    return Pairs(
        task=plan.task,
        sampled_as=str(plan.config.get("task", plan.task)),
        dataset=dataset,
        shards=names,
        starts=np.cumsum([0, *(commit.pairs for commit in commits)]),
        keys=pa.chunked_array([chunk for _, table in read for chunk in table["pair"].chunks], pa.string()),
        fingerprint=commits[0].fingerprint,
        tokenizer=commits[0].tokenizer,
    )


def _columns(pairs: Pairs) -> pa.Table:
    """The manifests' rows of a dataset, in order: an example each, with its context."""
    return pa.concat_tables(read_columns(pairs.dataset, name, _COLUMNS) for name in pairs.shards)


def _context_only(trained: Sequence[Pairs], columns: Sequence[pa.Table]) -> list[Pairs]:
    """The datasets that are not trained on, but that contexts come from."""
    known, further = {folder_of(pairs.dataset.url) for pairs in trained}, list[Pairs]()
    for pairs, table in zip(trained, columns, strict=True):
        for place in _places(table):
            url = url_at(pairs.dataset.url, place)
            if folder_of(url) not in known:
                further.append(_pairs(Dataset(url)))
                known.add(folder_of(url))
    return further


def _places(table: pa.Table) -> list[str]:
    """Where other datasets lie that contexts come from, as the manifests name them."""
    places: list[str] = pc.unique(_contexts(table).field("dataset").drop_null()).to_pylist()
    return places


def _contexts(table: pa.Table) -> pa.StructArray:
    """The contexts of all examples, one after the other."""
    return table["contexts"].combine_chunks().flatten()


def _check_one_tokenizer(pairs: Sequence[Pairs]) -> None:
    for known in pairs[1:]:
        if known.tokenizer != pairs[0].tokenizer:
            raise ValueError(f"{known.task} and {pairs[0].task} have tokens of two tokenizers: make one of them again")


def _weights(
    given: Sequence[float | None], rates: Sequence[NDArray[np.float64]], examples: Sequence[Examples]
) -> tuple[float, ...]:
    """The share of each dataset trained on: by the weights given, else by how many examples an epoch of it has."""
    counts = [float(rate[one.code].sum()) for rate, one in zip(rates, examples, strict=True)]
    weights = [count if weight is None else weight for count, weight in zip(counts, given, strict=True)]
    if not all(counts) or not all(weight > 0 for weight in weights):
        raise ValueError("a dataset has no examples, or a weight or all its rates are 0: leave it out")
    return tuple(weight / sum(weights) for weight in weights)


def _examples(table: pa.Table, index: int, pairs: Sequence[Pairs]) -> Examples:
    """Manifest rows as numbers. Raises ValueError if a row names a pair that has no tokens."""
    folders = [folder_of(known.dataset.url) for known in pairs]
    places = _places(table)
    numbers = [folders.index(folder_of(url_at(pairs[index].dataset.url, place))) for place in places]
    contexts = _contexts(table)
    at = pc.fill_null(pc.index_in(contexts.field("dataset"), pa.array(places, pa.string())), len(places))
    of = np.array([*numbers, index])[at.to_numpy()]
    context = np.empty(len(contexts), np.int32)
    for number, known in enumerate(pairs):
        chosen = np.flatnonzero(of == number)
        context[chosen] = _find(contexts.field("pair").take(pa.array(chosen)), known)
    names = pc.binary_join_element_wise(table["direction"], table["kind"], " ")
    return Examples(
        pair=_find(table["pair"], pairs[index]),
        code=pc.index_in(names, _NAMES).to_numpy().astype(np.int8),
        contexts=np.cumsum([0, *pc.list_value_length(table["contexts"]).to_pylist()]),
        context=context,
        context_dataset=of.astype(np.int16),
    )


def _find(keys: pa.Array | pa.ChunkedArray, pairs: Pairs) -> NDArray[np.int32]:
    numbers = pc.index_in(keys, pairs.keys)
    if numbers.null_count:
        missing = keys.filter(numbers.is_null())[0].as_py()
        raise ValueError(f"pair {missing} of {pairs.task} has no tokens: remove tokens/ and run make tokens again")
    return np.asarray(numbers.to_numpy(), np.int32)


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
