"""Checks a dataset directory against itself: every byte that can be checked, every reference, every count.

In a finished dataset, dataset.json holds the sha256 of the plan and of each manifest, and each manifest those of its
shard and rejects: no change goes unseen. In an unfinished one the manifests' rows are held against the shards: see
`manifests.verify.unit`.

Memory: one unit's rows, one row group of the plan, and the keys of the dataset's pairs. Nothing is unpacked, decoded
or unpickled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from manifests.dataset import Dataset, DatasetError, Plan, find_datasets
from manifests.read.places import folder_of, url_at
from manifests.schema import MANIFEST, PLAN
from manifests.verify.answers import answer_problems
from manifests.verify.candidates import candidate_problems
from manifests.verify.tokens import token_problems
from manifests.verify.unit import EXAMPLES, Problem, check_unit, row_groups
from manifests.write.candidates import FOLDER as CANDIDATES
from manifests.write.finish import Totals, plan_entries, shard_entry

_AGAIN = "run the same command again"
_FOLDERS = {"shards": ".tar", "rejects": ".parquet", "manifest": ".parquet", CANDIDATES: ".tar"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be: which file, what is wrong, and the way out where there is one."""

    file: str
    message: str


def verify(url: str) -> Iterator[Finding]:
    """Check the dataset at a URL, or all those in that folder. Of an unfinished one, what is committed is checked.

    Raises DatasetError if there is none.
    """
    datasets = find_datasets(url)

    @cache
    def examples_in(folder: str) -> Mapping[str, int] | None:
        return _examples_elsewhere(datasets, folder)

    for dataset in datasets:
        for file, message in _dataset_problems(dataset, examples_in):
            path = f"{dataset.url}/{file}"
            one_line = " ".join(message.removeprefix(f"{path} ").split())
            yield Finding(file=path, message=one_line)


def _examples_elsewhere(datasets: list[Dataset], folder: str) -> Mapping[str, int] | None:
    """The pairs of another dataset, from which in-context examples may come; None if it is not among these."""
    for dataset in datasets:
        if folder_of(dataset.url) != folder:
            continue
        try:
            plan = dataset.plan()
        except ValueError:
            return None  # `_dataset_problems` says so
        examples: dict[str, int] = {}
        for unit in sorted(dataset.committed()):
            for _ in _gather_examples(dataset, plan.name(unit), examples):
                pass
        return examples
    return None


def _dataset_problems(dataset: Dataset, examples_in: Callable[[str], Mapping[str, int] | None]) -> Iterator[Problem]:
    """`examples_in` tells of the datasets that are verified together, by their folders."""
    try:
        plan = dataset.plan()
    except ValueError as error:
        yield "plan.parquet", str(error)
        return
    committed = {unit for unit in dataset.committed() if unit < plan.units}
    yield from _strange_files(dataset, plan, committed)
    examples: dict[str, int] = {}
    for unit in sorted(committed):
        yield from _gather_examples(dataset, plan.name(unit), examples)

    def examples_of(place: str | None) -> Mapping[str, int] | None:
        return examples if place is None else examples_in(folder_of(url_at(dataset.url, place)))

    units = items = 0
    try:
        for unit, refs in _planned(dataset):
            items += len(refs)
            if unit != units:
                break
            units += 1
            if unit in committed:
                yield from check_unit(dataset, plan, unit, refs, examples_of)
    except DatasetError as error:
        yield "plan.parquet", f"{error}; remove it and {_AGAIN} to plan anew"
    else:
        if (units, items) != (plan.units, plan.items):
            yield (
                "plan.parquet",
                f"has not the {plan.items:,} items in {plan.units:,} units, in order, that it records: it was edited; "
                f"remove it and {_AGAIN} to plan anew",
            )
    if dataset.store.exists("dataset.json"):
        yield from _description_problems(dataset, plan, committed)
    yield from candidate_problems(dataset, plan, committed)
    yield from token_problems(dataset, plan, committed)
    yield from answer_problems(dataset)


def _strange_files(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """Files that no committed unit owns."""
    for folder, ending in _FOLDERS.items():
        planned = {f"{plan.name(unit)}{ending}": unit for unit in range(plan.units)}
        for file in dataset.store.names(folder):
            if file not in planned:
                yield f"{folder}/{file}", "does not belong to this dataset; remove it"
            elif planned[file] not in committed:
                yield (
                    f"{folder}/{file}",
                    f"is of a unit that is not committed: a run was stopped, or is at work; {_AGAIN} to go on",
                )
    for folder in ("", *_FOLDERS):
        for file in dataset.store.temporary_names(folder):
            yield (
                f"{folder}/{file}".lstrip("/"),
                f"is being written, or its writer was killed: no reader sees it; {_AGAIN} and it is removed at the end",
            )


def _gather_examples(dataset: Dataset, name: str, examples: dict[str, int]) -> Iterator[Problem]:
    """Add the unit's pairs to `examples`: by pair, the bits in EXAMPLES of those it has.

    A pair costs about 110 bytes: 55 MB for 500,000.
    """
    file = f"manifest/{name}.parquet"
    here: dict[str, int] = {}
    repeated: set[str] = set()
    try:
        for group in row_groups(dataset.store.read(file), MANIFEST, ["pair", "direction", "kind"]):
            for pair, direction, kind in zip(*group.to_pydict().values(), strict=True):
                bit = EXAMPLES.get((direction, kind), 0)
                if here.get(pair, 0) & bit:
                    repeated.add(pair)
                here[pair] = here.get(pair, 0) | bit
    except ValueError:
        return  # `check_unit` says so
    for pair in sorted(repeated | (here.keys() & examples.keys())):
        yield file, f"pair {pair} is in the dataset more than once: the plan names its source twice, or it was edited"
    examples.update(here)


def _planned(dataset: Dataset) -> Iterator[tuple[int, list[str]]]:
    """Each unit of the plan with its items' refs."""
    rows = (
        row
        for group in row_groups(dataset.store.read("plan.parquet"), PLAN, ["unit", "ref"])
        for row in zip(*group.to_pydict().values(), strict=True)
    )
    for unit, group in itertools.groupby(rows, key=lambda row: row[0]):
        yield unit, [ref for _, ref in group]


def _description_problems(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """dataset.json against the plan and the manifests."""
    anew = f"remove it and {_AGAIN} to write it anew"
    try:
        description = dataset.description()
        recorded: dict[str, Any] = {entry["name"]: entry for entry in description["shards"]}
    except (ValueError, KeyError, TypeError):
        yield "dataset.json", f"is not what we write: it was edited; {anew}"
        return
    if len(committed) < plan.units:
        yield (
            "dataset.json",
            f"{plan.units - len(committed):,} of {plan.units:,} units are not there any more; {_AGAIN} to write them",
        )
    totals, judged = Totals(), len(committed) == plan.units
    for unit in sorted(committed):
        name = plan.name(unit)
        manifest = dataset.store.read(f"manifest/{name}.parquet")
        entry = recorded.pop(name, {})
        try:
            commit = dataset.commit(name)
        except ValueError:
            judged = False  # `check_unit` says so
            continue
        found = shard_entry(name, commit, manifest)
        if entry and entry.get("manifest_sha256") != found["manifest_sha256"]:
            judged = False
            yield (
                f"manifest/{name}.parquet",
                "its sha256 is not the one in dataset.json: one of them was changed since the dataset was finished; "
                f"remove both and {_AGAIN} to write them anew",
            )
        elif entry != found:
            yield "dataset.json", f"does not say of {name} what its manifest records; {anew}"
        totals.add(commit)
    found = plan_entries(plan, dataset.store.read("plan.parquet"))
    if judged:
        found["totals"] = totals.as_json()
    for key, value in found.items():
        if description.get(key) != value:
            yield "dataset.json", f"{key}: {_difference(description.get(key), value)}; {anew}"
    for name in recorded.keys() - {plan.name(unit) for unit in range(plan.units)}:
        yield "dataset.json", f"lists {name}, which the plan does not have; {anew}"


def _difference(recorded: Any, found: Any) -> str:
    """What differs between two JSON values, by entry where both are objects."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        keys = sorted(key for key in {*recorded, *found} if recorded.get(key) != found.get(key))
        return ", ".join(f"{key} is {recorded.get(key)!r}, and should be {found.get(key)!r}" for key in keys)
    return f"is {recorded!r}, and should be {found!r}"
