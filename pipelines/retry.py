"""`xprompt retry DATASET --reason R`: makes again what a dataset rejected for a reason, as a dataset of its own.

It has those items alone, and the parent's task, seed and options, which are read from the parent's configuration; what
is typed overrides them. Where the source lies, and which models are used, no dataset records: DATA, MODELS, VLM and a
guard file are given as they were for the parent. The parent is not touched: the new dataset lies beside it, is called
after it, and its plan names the parent and its fingerprint. An item that is kept now has the key and the images that a
new run over the mended source would give it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from manifests.dataset import Dataset, DatasetError, Plan, difference
from manifests.read.places import place_from
from manifests.schema import PLAN, REJECTS, Item
from manifests.storage import Store
from manifests.verify.unit import read_file, row_batches
from operators.arrange.resize import Resize
from operators.base import InBlocks
from operators.judge.allowed_licences import AllowedLicences
from operators.judge.hold_out import DropExamples, HoldOutEdits
from operators.option import options_of, parameters
from operators.slow import said_if_slow
from pipelines.api import made
from pipelines.options import ASK, WHERE
from pipelines.prepare import Prepared, prepare
from pipelines.report.terminal import SILENT
from pipelines.run.dataset import anchored
from pipelines.run.lock import only_run
from pipelines.run.plan import cut_units, job_of, shape_of
from pipelines.tasks.catalogue import task_of
from pipelines.tasks.task import Task

_FRESH = ("data", "models", "guard", *(one.name for one in ASK), *(one.name for one in WHERE))
"""Options of which a dataset's configuration says too little to set them again: places, and models."""

_SHAPE = ("source", "operators", "in_context", "least_group", "reject_pictures")
"""Entries of a configuration that must be as they were."""

_MADE_AGAIN = re.compile(r"(.*)-retry-([1-9][0-9]*)")


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """What a dataset holds of its source: its items in the plan's order, and why those were rejected that were."""

    items: tuple[Item, ...]
    reasons: Mapping[str, str]
    """Reason by the item's ref."""

    def of(self, reasons: Sequence[str]) -> list[Item]:
        """The items rejected for any of some reasons. Raises ValueError, with those that there are, for none."""
        counts = Counter(self.reasons.values())
        there = ", ".join(f"{reason} ({count:,})" for reason, count in counts.most_common()) or "no rejects"
        if not reasons:
            raise ValueError(f"say what is to be made again, --reason R: there is {there}")
        for reason in reasons:
            if reason not in counts:
                raise ValueError(f"nothing was rejected for the reason {reason}: there is {there}")
        return [item for item in self.items if self.reasons.get(item.ref) in reasons]

    def refuse_changed(self, now: Mapping[str, Item], dataset: Dataset) -> None:
        """Raises ValueError if the source is not the one that the pairs of the dataset were made of."""
        kept = [item for item in self.items if item.ref not in self.reasons]
        if changed := [item.ref for item in kept if now.get(item.ref) != item]:
            raise ValueError(
                f"the source is not what {dataset.url} was made of: {len(changed):,} of the {len(kept):,} items "
                f"that became pairs are gone or changed, such as {changed[0]}: give the DATA that it was made of, or "
                "make a new dataset with xprompt shards"
            )


def retry(
    url: str, reasons: Sequence[str], task: Task | str | None = None, *, console: Console = SILENT, **options: Any
) -> Dataset:
    """Make again what the dataset at a URL rejected for some reasons, and return the new dataset, finished.

    `task` is needed for one that its name does not tell, of a file. `options` are those of `pipelines.options.RUN` but
    the scale, and of the task; `out` is the folder that gets the new dataset's (default: that of the parent).

    Raises as `pipelines.make` does, and ValueError, one line, for a reason that nothing was rejected for, for a source
    that is another now, and for options that give another chain than the parent's.
    """

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    parent = Dataset(anchored(url))
    plan, _ = parent.plan(), parent.description()  # says if it is unfinished
    rejected = _rejected(parent, plan)
    wanted = rejected.of(reasons)
    known = {name: value for name, value in options.items() if value is not None}
    with said_if_slow(say, "listing DATA"):
        prepared = _prepared(parent, plan, task_of(plan, task), known, say)
        reader = prepared.reader
        if isinstance(reader, InBlocks) or prepared.task.least_group > 1:
            raise ValueError(
                f"{prepared.task.name} makes the pairs of a group together, which one cannot join later: make the "
                "dataset anew with xprompt shards"
            )
        listing = reader.listing()
        now = {item.ref: item for item in reader.items(listing)}
    rejected.refuse_changed(now, parent)
    there = [now[item.ref] for item in wanted if item.ref in now]
    if not there:
        raise ValueError(f"none of the {len(wanted):,} items that were rejected is in the source any more")
    if len(there) < len(wanted):
        say(f"{len(wanted) - len(there):,} of {len(wanted):,} rejected items are not in the source any more")
    units = list(cut_units(there, plan.config["seed"], prepared.task.pairs_per_shard, contiguous=True))
    folder = str(known.get("out") or parent.url.rpartition("/")[0])
    again = {"fingerprint": plan.fingerprint, "reasons": sorted({*reasons})}
    called = parent.url.rpartition("/")[2]  # that of a test split has the split's name too
    name = _name(anchored(folder), called if re.fullmatch(r"[a-z0-9_-]+", called) else plan.task, again)
    out = f"{anchored(folder)}/{name}"
    suffixes = plan.config.get("suffixes", {})
    with only_run(out, say, wait=prepared.values["wait"]):
        job = job_of(
            prepared.task,
            reader,
            out,
            prepared.values["seed"],
            units,
            suffixes,
            listing,
            name=name,
            retried={**again, "dataset": _place(out, parent.url)},
        )
        return made(job, replace(prepared, values={**prepared.values, "out": folder}), console)


def _rejected(dataset: Dataset, plan: Plan) -> Rejected:
    """Raises DatasetError, naming the file, for tables that cannot be read."""
    items, reasons = list[Item](), dict[str, str]()
    file = "plan.parquet"
    try:
        for batch in row_batches(read_file(dataset, file), PLAN, [*PLAN.names], plan.items):
            for row in batch.to_pylist():
                item = Item(ref=row["ref"], files=tuple(row["files"]), index=row["index"], bytes=row["bytes"])
                items.append(item)
        for unit in range(plan.units):
            file = f"rejects/{plan.name(unit)}.parquet"
            columns = ["source_ref", "reason"]
            for batch in row_batches(read_file(dataset, file), REJECTS, columns, plan.items):
                reasons.update(zip(*batch.to_pydict().values(), strict=True))
    except (DatasetError, FileNotFoundError) as error:
        raise DatasetError(f"{dataset.url}/{file} cannot be read: {error}") from None
    return Rejected(items=tuple(items), reasons=reasons)


def _prepared(parent: Dataset, plan: Plan, task: Task, given: Mapping[str, Any], say: Any) -> Prepared:
    """The task and reader of a parent, with the options given.

    Raises ValueError if those that the parent had cannot be found again, and DatasetError if it records none.
    """
    if not {"source", "operators"} <= plan.config.keys() or type(plan.config.get("seed")) is not int:
        raise DatasetError(f"{parent.url} does not record how it was made: make it anew with xprompt shards")
    fresh = {name: value for name, value in given.items() if name in _FRESH}
    changed = {name: value for name, value in given.items() if name not in fresh}
    before = _shape(plan.config)
    attempts = []
    for had in _options(plan.config, task, has_data="data" in given):
        prepared = prepare(task, {**had, **fresh})
        if "data" not in given and prepared.reader.source != plan.config["source"].get("source"):
            raise ValueError(
                f"{parent.url} was made of {plan.config['source'].get('source')}, and does not record where that lies: "
                "give --data"
            )
        attempts.append((difference(before, _shape_of(prepared)), prepared, had))
    differing, prepared, had = min(attempts, key=lambda attempt: len(attempt[0]))
    if differing:
        shapes = before, shape_of(prepared.task, prepared.reader)
        names = [[one.get("name") for one in shape["operators"]] for shape in shapes]
        if names[0] != names[1]:
            lost = sorted(map(str, {*names[0]} ^ {*names[1]}))
            raise ValueError(
                f"{parent.url} was made with other steps ({', '.join(lost) or 'in another order'}): give the options "
                "that it was made with, such as --guard, --models and --vlm"
            )
        if not fresh.keys() & {"guard", "models", "prompts", "vlm", "vlm_model"}:
            raise ValueError(
                f"{parent.url} was made with other options than can be found again: {differing}; give them again"
            )
        say(f"unlike {parent.url}: {differing}")
    versions = difference(_versions(plan.config), _versions(shape_of(prepared.task, prepared.reader)))
    if versions:
        say(f"unlike {parent.url}, which an earlier version made: {versions}")
    if not changed:
        return prepared
    changing = prepare(task, {**had, **fresh, **changed})
    if found := difference(_shape_of(prepared), _shape_of(changing)):
        say(f"unlike {parent.url}: {found}")
    return changing


def _options(config: Mapping[str, Any], task: Task, *, has_data: bool) -> Iterator[dict[str, Any]]:
    """The options that a dataset may have been made with, by its configuration, one set after the other."""
    source, operators = config["source"], {one.get("name"): one for one in reversed(config["operators"])}
    found: dict[str, Any] = {"seed": config["seed"]}
    for record in task.chain:
        found |= _set(record, operators.get(getattr(record, "name", ""), {}))
    for reader in task.readers():
        if type(reader).__name__ == source.get("reader"):
            found |= _set(reader, source)
    if source.get("split"):
        found["split"] = source["split"]
    if has_data and any(one.reader.source == source.get("source") for one in task.sources):
        found["as"] = source["source"]
    if (resized := operators.get(Resize.name)) and not any(isinstance(link, Resize) for link in task.chain):
        found |= {"size": resized["size_px"], "resize": resized["mode"]}
    held_out = [one for one in operators.values() if one.get("name") in (DropExamples.name, HoldOutEdits.name)]
    if held_out:
        found["hold_out"] = sorted(one["novel_task"] for one in held_out)
        if judges := [one["by"] for one in held_out if "by" in one]:
            found["hold_out_by"] = judges[0]
    if allowed := operators.get(AllowedLicences.name):
        found["allow_licence"] = allowed["allowed"]
    if config.get("reject_pictures") is False:
        found["reject_pictures"] = False
    yield found
    if task.judges:
        yield {**found, "keep": "all"}


def _set(record: Any, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an operator or reader that its entry in a configuration says were set."""
    plain = parameters(record)
    fields = {name: declared for name, declared in options_of(record) if name in entry}
    return {declared.name: entry[name] for name, declared in fields.items() if entry[name] != plain.get(name)}


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration must be as it was: all but versions, and which items."""
    shape = {name: config[name] for name in _SHAPE if name in config}
    return {name: _without_version(value) for name, value in shape.items()}


def _shape_of(prepared: Prepared) -> dict[str, Any]:
    return _shape(shape_of(prepared.task, prepared.reader))


def _without_version(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_version(one) for one in value]
    return {key: one for key, one in value.items() if key != "version"} if isinstance(value, dict) else value


def _versions(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {one["name"]: one.get("version") for one in config["operators"] if isinstance(one.get("name"), str)}
    return {**found, "source": config["source"].get("version")}


def _name(folder: str, parent: str, again: Mapping[str, Any]) -> str:
    """What the new dataset is called: after its parent, with the first number that is free, or of the same retry."""
    match = _MADE_AGAIN.fullmatch(parent)
    base, number = (match[1], int(match[2]) + 1) if match else (parent, 1)
    store = Store(folder)
    while store.exists(name := f"{base}-retry-{number}"):
        if store.exists(f"{name}/plan.parquet"):
            there = Dataset(f"{folder}/{name}").plan().config.get("retry_of")
            if isinstance(there, dict) and {key: there.get(key) for key in again} == again:
                return name
        elif not store.names(name):
            return name
        number += 1
    return name


def _place(out: str, parent: str) -> str:
    """Where the parent lies, as the new dataset names it: from its own folder, if one file system has both."""
    try:
        return place_from(out, parent)
    except DatasetError:
        return parent
