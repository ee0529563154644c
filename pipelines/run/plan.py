"""The plan of a run: which items become which shard, fixed before anything is made, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from manifests.dataset import Dataset, Plan, plan_table
from manifests.schema import SCHEMA_VERSION, Item, canonical_json
from manifests.storage import absolute
from operators.base import InBlocks, Link, Reader
from operators.option import parameters
from operators.read.files import SourceFile, list_files
from operators.read.split import TRAIN, split_of
from pipelines.run.seen import Watched, remember
from pipelines.sources.locate import locate, of_file, seen, told_columns, told_passed_over
from pipelines.sources.source import Source
from pipelines.tasks.task import Task

MIN_SHARDS = 8
"""A small dataset is cut finer than `pairs_per_shard`, into so many shards if it can be, so that the cores of a
workstation all get work."""

MIN_PAIRS_PER_SHARD = 32
"""A dataset is not cut finer than this: an in-context example is chosen among the pairs of a shard."""

_LIBRARIES = ("fpng", "numpy", "opencv-python-headless", "pillow", "pyarrow")
_MODEL_LIBRARIES = (
    "ai-edge-litert",
    "controlnet-aux",
    "diffusers",
    "onnxruntime",
    "open_clip_torch",
    "torch",
    "torchvision",
    "transformers",
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to make any unit of a dataset; it travels to workers once per task."""

    out: str
    """URL of the dataset directory."""
    task: Task
    reader: Reader
    seed: int
    suffixes: dict[str, str]
    plan: Plan

    @property
    def dataset(self) -> Dataset:
        return Dataset(self.out)

    def watched(self, unit: int, items: Sequence[Item]) -> Watched:
        """The source's files of a unit."""
        return Watched(dataset=self.dataset, plan=self.plan, root=self.reader.root, unit=unit, items=items)


def find_source(
    task: Task, data: str | None, *, counted: bool = False, split: str = TRAIN, taken_as: str = ""
) -> Source:
    """The source that DATA holds, its reader bound to it; without DATA the bundled input, or with a count the prompts.

    `split` is the split of the source that is read, `taken_as` the name of the source that DATA is taken as, whatever
    it looks like.

    Raises ValueError with the way out if there is nothing there that the task can read.
    """
    if data is None:
        if taken_as:
            raise ValueError(f"--as {taken_as} says what DATA is taken as, and needs one")
        if split != TRAIN:
            raise ValueError(f"--split {split} needs DATA: what {task.name} reads without it has no test split")
        if counted and task.prompted:
            return task.prompted
        if task.bundled is None:
            wanted = "\n".join(f"  {source.layout}: {source.obtain}" for source in _with_split(task, split))
            raise ValueError(f"{task.name} has no bundled input; point DATA at one of\n{wanted}")
        return task.bundled
    sources, root = of_file(task.sources, absolute(data))
    task = replace(task, sources=sources)
    listing = list_files(root)
    if not listing:
        raise ValueError(f"DATA: {root} is empty{told_passed_over(listing)}")
    if source := locate(task.sources, root, listing, split, taken_as):
        return replace(source, seen=seen(source, root, listing))
    tried = [one for one in _with_split(task, split) if not taken_as or one.reader.source == taken_as]
    wanted = "; or ".join(source.layout for source in tried)
    raise ValueError(
        f"DATA: {root} has nothing that {task.name} can read{told_columns(root, listing)}{told_passed_over(listing)}. "
        f"It reads {wanted}"
    )


def _with_split(task: Task, split: str) -> list[Source]:
    """The sources of a task that have a split. Raises ValueError, with the splits that there are, if none has."""
    found = [source for one in task.sources if (source := one.of(split))]
    if not found:
        others = ", ".join(dict.fromkeys(name for one in task.sources for name in one.splits))
        raise ValueError(f"{task.name} has no sources to train on, only to test with: --split {others}")
    return found


def folder_name(task: Task, reader: Reader) -> str:
    """The name of a dataset's folder below OUT: the task's, behind which that of a test split has the split's."""
    split = split_of(reader)
    return task.name if split == TRAIN else f"{task.name}-{split}"


def make_job(
    task: Task,
    reader: Reader,
    out: str,
    seed: int,
    scale: float = 1.0,
    *,
    count: int | None = None,
    skip: int = 0,
) -> Job:
    """List the source, lay out its units and write the plan, or take up the plan of an earlier run.

    `scale`, `count` and `skip` keep a part of the items, as `cut_units` does.

    Raises DatasetError if `out` holds data of another configuration, or if the source changed since its plan was made.
    """
    listing = reader.listing()
    items = _items(reader, listing)
    units = list(units_of(task, reader, items, seed, scale=scale, count=count, skip=skip))
    suffixes = dict(reader.suffixes(items))
    for link in task.chain:
        if stored := getattr(link, "stores", None):  # every image that the reader brings has this ending then
            suffixes = dict.fromkeys(suffixes, stored)
    return job_of(task, reader, out, seed, units, suffixes, listing)


def job_of(
    task: Task,
    reader: Reader,
    out: str,
    seed: int,
    units: Sequence[Sequence[Item]],
    suffixes: Mapping[str, str],
    listing: Sequence[SourceFile],
    *,
    name: str = "",
    retried: Mapping[str, Any] | None = None,
) -> Job:
    """Write the plan of units that are laid out, or take up the plan of an earlier run; raises as `make_job` does.

    `listing` are the source's files. `name` is what the dataset and its shards are called if not after the task;
    `retried` says of which dataset it makes what again (pipelines/retry.py).
    """
    task = task.with_vlm(lambda vlm: replace(vlm, responses=f"{out}/responses"))
    again = {"retry_of": dict(retried)} if retried else {}
    config = {**shape_of(task, reader), **_items_config(task, seed, dict(suffixes), units), **again}
    fingerprint = hashlib.sha256(canonical_json(config).encode()).hexdigest()
    dataset = Dataset(out)
    planned = dataset.store.exists("plan.parquet")
    plan = dataset.write_plan(name or task.name, config, fingerprint, plan_table(units))
    remember(dataset, plan, reader.root, listing, units, planned=planned)
    return Job(out=out, task=task, reader=reader, seed=seed, suffixes=dict(suffixes), plan=plan)


def list_items(reader: Reader) -> list[Item]:
    """All items of a source. Raises ValueError if it has none, or one twice."""
    return _items(reader, reader.listing())


def _items(reader: Reader, listing: Sequence[SourceFile]) -> list[Item]:
    items = list(reader.items(listing))
    if not items:
        raise ValueError(f"DATA: {reader.root} holds nothing to read")
    if len({item.ref for item in items}) < len(items):  # of which two pairs of one key would be made
        ((ref, count),) = Counter(item.ref for item in items).most_common(1)
        raise ValueError(f"DATA: {ref} in {reader.root} is listed {count} times: leave it in the list once")
    return items


def units_of(
    task: Task, reader: Reader, items: Sequence[Item], seed: int, *, scale: float, count: int | None, skip: int
) -> Iterator[list[Item]]:
    """A reader's items in shards of the task's size, as `cut_units` cuts them."""
    return cut_units(
        items,
        seed,
        task.pairs_per_shard,
        contiguous=reader.contiguous,
        block=reader.block if isinstance(reader, InBlocks) else 1,
        scale=scale,
        count=count,
        skip=skip,
    )


def cut_units(
    items: Sequence[Item],
    seed: int,
    pairs_per_shard: int,
    *,
    contiguous: bool = False,
    block: int = 1,
    scale: float = 1.0,
    count: int | None = None,
    skip: int = 0,
) -> Iterator[list[Item]]:
    """Items in seeded random order, or as they come if `contiguous`, in shards whose sizes differ by at most one.

    Of contiguous items each `block` in a row, counted from the first of all, come into one shard: the numbers of blocks
    differ by at most one then.

    Shuffled, a shard's pairs are a sample of the dataset: neighbours in a listing are often frames of one video, and
    would make in-context examples that give the answer away.

    Of the items in that order, the first `skip` are passed over and the next `count` taken, all if it is None; where
    there are fewer than both together, fewer are passed over rather than taken. `scale` keeps that share of those
    taken, at least one, and of a block that it cuts the whole.
    """
    order = np.arange(len(items)) if contiguous else np.random.default_rng(seed).permutation(len(items))
    wanted = len(items) if count is None else min(count, len(items))
    first = min(skip, len(items) - wanted)
    kept = max(1, round(scale * wanted))
    order = order[first:][: min(wanted, -(-kept // block) * block)]
    enough = -(-len(order) // pairs_per_shard)
    fine = min(MIN_SHARDS, -(-len(order) // MIN_PAIRS_PER_SHARD))
    starts = np.flatnonzero(np.diff(order // block, prepend=-1))
    first_starts = [part[0] for part in np.array_split(starts, min(max(enough, fine), len(starts)))]
    for part in np.split(order, first_starts[1:]):
        yield [items[position] for position in part]


def versions(task: Task) -> dict[str, str]:
    """The libraries that shape the bytes of a shard or manifest.

    If the task runs models, be it for retrieval, those of models too, as far as they are installed.
    """
    found = {name: version(name) for name in _LIBRARIES}
    if task.gpus is not None or task.context == "raie":
        for name in _MODEL_LIBRARIES:
            with suppress(PackageNotFoundError):
                found[name] = version(name)
    return found


def shape_of(task: Task, reader: Reader) -> dict[str, Any]:
    """What of a dataset's configuration does not depend on the items: how each of them is read and gone through."""
    return {
        "source": {
            **_parameters(reader),
            "source": reader.source,
            "licence": reader.licence,
            "reader": type(reader).__name__,
            "version": reader.version,
        },
        "operators": [
            {"name": operator.name, "version": operator.version, **_parameters(operator)}
            for operator in task.operators(reader)
        ],
        **_grouping(task),
    }


def _items_config(task: Task, seed: int, suffixes: dict[str, str], units: Sequence[Sequence[Item]]) -> dict[str, Any]:
    """The rest of what the bytes of a dataset depend on but the code itself. Where it is read from is not in it."""
    digest = hashlib.sha256()
    for unit in units:
        digest.update(canonical_json([[item.ref, item.files, item.index, item.bytes] for item in unit]).encode())
    return {
        "schema_version": SCHEMA_VERSION,
        "task": task.name,
        "seed": seed,
        "pairs_per_shard": task.pairs_per_shard,
        "suffixes": suffixes,
        "items": sum(len(unit) for unit in units),
        "items_sha256": digest.hexdigest(),
    }


def _grouping(task: Task) -> dict[str, Any]:
    """How a task's in-context examples and rejects differ from those of most, whose fingerprints know nothing of it."""
    told: dict[str, Any] = {}
    if task.in_context is not None:
        told["in_context"] = [list(example) for example in task.in_context]
    if task.least_group > 1:
        told["least_group"] = task.least_group
    if not task.reject_pictures:
        told["reject_pictures"] = False
    return told


def _parameters(record: Reader | Link) -> dict[str, Any]:
    """What is set of a reader or operator, less where on this machine its source lies."""
    values = parameters(record)
    values.pop("root", None)
    if values.get("split") == TRAIN:  # the fingerprints of what was made before there were test splits stay
        del values["split"]
    return values
