"""Checks a dataset directory against itself: every byte that can be checked, every reference, every count.

In a finished dataset, dataset.json holds the sha256 of itself, of README.md, of the plan and of each manifest, and each
manifest those of its shard and rejects: a change of any of these files is seen, and so is a missing one, unless
dataset.json was made anew to fit, which is what a signature would tell. In an unfinished one the manifests' rows are
held against the shards: see `manifests.verify.unit`. Candidates and tokens vouch for themselves; other folders are not
looked into.

Memory: one unit's rows, some rows of the plan, and the keys of the dataset's pairs; how many these are is told by the
files' footers and sizes before they are read. Nothing is unpacked, decoded or unpickled.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.dataset import Dataset, DatasetError, Plan, find_datasets
from manifests.read.places import folder_of, url_at
from manifests.schema import MANIFEST, PLAN
from manifests.verify.answers import answer_problems
from manifests.verify.candidates import candidate_problems
from manifests.verify.reject_pictures import picture_problems
from manifests.verify.tokens import token_problems
from manifests.verify.unit import EXAMPLES, Problem, check_unit, most_rows, read_file, row_batches
from manifests.write.candidates import FOLDER as CANDIDATES
from manifests.write.finish import Totals, as_written, description_sha256, plan_entries, readme_sha256, shard_entry
from manifests.write.reject_pictures import FOLDER as PICTURES

_AGAIN = "run the same command again"
_REOPENED = "reopened.json"
_MOST_OF_A_FILE = 100
"""Findings of one file that are told singly; beyond them they are counted."""

_MOST_CHARS = 1_000  # of a message: it may quote what a stranger wrote
_FOLDERS = {"shards": ".tar", "rejects": ".parquet", "manifest": ".parquet", CANDIDATES: ".tar", PICTURES: ".tar"}


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
        told: Counter[str] = Counter()
        for file, message in _dataset_problems(dataset, examples_in):
            told[file] += 1
            if told[file] > _MOST_OF_A_FILE:
                continue
            path = f"{dataset.url}/{file}"
            one_line = " ".join(message.removeprefix(f"{path} ").split())
            cut = f"{one_line[:_MOST_CHARS]}..." if len(one_line) > _MOST_CHARS else one_line
            yield Finding(file=path, message=cut)
        for file, count in told.items():
            if count > _MOST_OF_A_FILE:
                yield Finding(file=f"{dataset.url}/{file}", message=f"{count - _MOST_OF_A_FILE:,} more findings in it")


def _examples_elsewhere(datasets: list[Dataset], folder: str) -> Mapping[str, int] | None:
    """The pairs of another dataset, from which in-context examples may come; None if it is not among these."""
    for dataset in datasets:
        if folder_of(dataset.url) != folder:
            continue
        try:
            plan = dataset.plan()
            items = _unit_sizes(dataset, plan)
        except ValueError:
            return None  # `_dataset_problems` says so
        examples: dict[str, int] = {}
        for unit in sorted(dataset.committed()):
            for _ in _gather_examples(dataset, plan.name(unit), int(items[unit]), examples):
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
    committed = dataset.committed()
    yield from _strange_files(dataset, plan, committed)
    try:
        items = _unit_sizes(dataset, plan)
    except DatasetError as error:
        yield "plan.parquet", f"{error}; remove it and {_AGAIN} to plan anew"
    else:
        yield from _unit_problems(dataset, plan, committed, items, examples_in)
    if dataset.store.exists("dataset.json"):
        yield from _description_problems(dataset, plan, committed)
    elif dataset.store.exists(_REOPENED):
        yield _REOPENED, "in-context examples are being chosen anew, or that was stopped: run the same command again"
    elif len(committed) == plan.units:
        yield (
            "dataset.json",
            f"is missing, and all units are there: it was removed, or a run was stopped before its end; {_AGAIN}",
        )
    yield from candidate_problems(dataset, plan, committed)
    yield from picture_problems(dataset, plan, committed)
    yield from token_problems(dataset, plan, committed)
    yield from answer_problems(dataset)


def _unit_problems(
    dataset: Dataset,
    plan: Plan,
    committed: set[int],
    items: npt.NDArray[np.int64],
    examples_in: Callable[[str], Mapping[str, int] | None],
) -> Iterator[Problem]:
    """All committed units, of which each was planned with so many items."""
    examples: dict[str, int] = {}
    for unit in sorted(committed):
        yield from _gather_examples(dataset, plan.name(unit), int(items[unit]), examples)

    def examples_of(place: str | None) -> Mapping[str, int] | None:
        return examples if place is None else examples_in(folder_of(url_at(dataset.url, place)))

    for unit, refs in _planned(dataset, plan):
        if unit in committed:
            yield from check_unit(dataset, plan, unit, refs, examples_of)


def _strange_files(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """Files that no committed unit owns."""
    for folder, ending in _FOLDERS.items():
        for file in dataset.store.names(folder):
            unit = plan.unit_of(file, ending)
            if unit is None:
                yield f"{folder}/{file}", "does not belong to this dataset; remove it"
            elif unit not in committed:
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


def _gather_examples(dataset: Dataset, name: str, items: int, examples: dict[str, int]) -> Iterator[Problem]:
    """Add the pairs of a unit of so many items to `examples`: by pair, the bits in EXAMPLES of those it has.

    A pair costs about 110 bytes: 55 MB for 500,000.
    """
    file = f"manifest/{name}.parquet"
    here: dict[str, int] = {}
    repeated: set[str] = set()
    try:
        most = most_rows(dataset, name, items)
        for batch in row_batches(read_file(dataset, file), MANIFEST, ["pair", "direction", "kind"], most):
            for pair, direction, kind in zip(*batch.to_pydict().values(), strict=True):
                bit = EXAMPLES.get((direction, kind), 0)
                if here.get(pair, 0) & bit:
                    repeated.add(pair)
                here[pair] = here.get(pair, 0) | bit
    except (ValueError, FileNotFoundError):
        return  # `check_unit` says so
    for pair in sorted(repeated | (here.keys() & examples.keys())):
        yield file, f"pair {pair} is in the dataset more than once: the plan names its source twice, or it was edited"
    examples.update(here)


def _unit_sizes(dataset: Dataset, plan: Plan) -> npt.NDArray[np.int64]:
    """The number of items of each unit. Raises DatasetError if the plan's rows are not those of its units, in order."""
    sizes = np.zeros(plan.units, np.int64)
    last = 0
    for batch in row_batches(read_file(dataset, "plan.parquet"), PLAN, ["unit"], plan.items):
        units = batch["unit"].to_numpy()
        steps = np.diff(units, prepend=last)
        if len(units) and (
            steps.min() < 0 or steps.max() > 1 or units[-1] >= plan.units or (units[0] and not sizes[0])
        ):
            break
        sizes += np.bincount(units, minlength=plan.units)
        last = int(units[-1]) if len(units) else last
    if not sizes.all() or sizes.sum() != plan.items:
        raise DatasetError(
            f"has not the {plan.items:,} items in {plan.units:,} units, in order, that it records: it was edited"
        )
    return sizes


def _planned(dataset: Dataset, plan: Plan) -> Iterator[tuple[int, list[str]]]:
    """Each unit of the plan with its items' refs."""
    rows = (
        row
        for batch in row_batches(read_file(dataset, "plan.parquet"), PLAN, ["unit", "ref"], plan.items)
        for row in zip(*batch.to_pydict().values(), strict=True)
    )
    for unit, group in itertools.groupby(rows, key=lambda row: row[0]):
        yield unit, [ref for _, ref in group]


def _description_problems(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """dataset.json against the plan and the manifests."""
    anew = f"remove it and {_AGAIN} to write it anew"
    try:
        description = dataset.description()
        recorded: dict[str, Any] = {entry["name"]: entry for entry in description["shards"]}
    except (ValueError, KeyError, TypeError) as error:
        yield "dataset.json", str(error) if isinstance(error, DatasetError) else f"is not what we write; {anew}"
        return
    is_sound = True
    if len(committed) < plan.units:
        yield (
            "dataset.json",
            f"{plan.units - len(committed):,} of {plan.units:,} units are not there any more; {_AGAIN} to write them",
        )
    totals, judged = Totals(), len(committed) == plan.units
    for unit in sorted(committed):
        name = plan.name(unit)
        entry = recorded.pop(name, {})
        try:
            manifest = read_file(dataset, f"manifest/{name}.parquet")
            commit = dataset.commit(name)
        except (ValueError, FileNotFoundError):
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
            is_sound = False
            yield "dataset.json", f"does not say of {name} what its manifest records; {anew}"
        totals.add(commit)
    found = plan_entries(plan, read_file(dataset, "plan.parquet"))
    if judged:
        found["totals"] = totals.as_json()
    for key, value in found.items():
        if description.get(key) != value:
            is_sound = False
            yield "dataset.json", f"{key}: {_difference(description.get(key), value)}; {anew}"
    for name in sorted(recorded.keys() - {plan.name(unit) for unit in range(plan.units)}):
        is_sound = False
        yield "dataset.json", f"lists {name}, which the plan does not have; {anew}"
    if is_sound:
        yield from _digest_problems(dataset, description, anew)


def _digest_problems(dataset: Dataset, description: Mapping[str, Any], anew: str) -> Iterator[Problem]:
    """The bytes of dataset.json and README.md, of which dataset.json holds the hashes."""
    if "sha256" not in description:
        yield "dataset.json", f"has no sha256 of itself: it was edited, or written by an earlier version; {anew}"
        return
    if description["sha256"] != description_sha256(description):
        yield "dataset.json", f"is not what its sha256 says: it was edited; {anew}"
        return
    if read_file(dataset, "dataset.json") != as_written(description):
        yield "dataset.json", f"is not spelled as we write it: it was edited; {anew}"
    try:
        if description.get("readme_sha256") != readme_sha256(read_file(dataset, "README.md")):
            yield "README.md", f"its sha256 is not the one in dataset.json: it was edited; {_AGAIN} to write it anew"
    except FileNotFoundError:
        yield "README.md", f"is missing; {_AGAIN} to write it anew"
    except DatasetError as error:
        yield "README.md", f"{error}; remove it and {_AGAIN} to write it anew"


def _difference(recorded: Any, found: Any) -> str:
    """What differs between two JSON values, by entry where both are objects."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        keys = sorted(key for key in {*recorded, *found} if recorded.get(key) != found.get(key))
        return ", ".join(f"{key} is {recorded.get(key)!r}, and should be {found.get(key)!r}" for key in keys)
    return f"is {recorded!r}, and should be {found!r}"
