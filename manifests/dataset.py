"""A dataset directory: its files, its plan, and the commit protocol.

    OUT/<task>/
      plan.parquet                       which items become which shard; config and fingerprint in its metadata
      seen.parquet                       what the source's files were when it was planned; gone when all is finished
      shards/<task>-000000.tar           WebDataset
      rejects/<task>-000000.parquet      items not kept, and why
      manifest/<task>-000000.parquet     one row per example; its appearance is the unit's commit
      reject_pictures/<task>-000000.tar  small pictures of what gates rejected, if there are any
      candidates/<task>-000000.tar       what targets were chosen among, where KEEP_CANDIDATES asks for it
      dataset.json, README.md            totals, config, versions, hashes; written when all units are committed

A unit is written tar first, then rejects, then manifest; the manifest's metadata records size, sha256 and count of
the other two. Readers see only what a manifest names, so a half-done unit does not exist for them. A unit's bytes
depend on the plan alone: writing one again, by a retry or a duplicate, puts the same bytes in the same place.
"""

from __future__ import annotations

import io
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.parquet import ParquetFile
from manifests.read.notebook import card
from manifests.read.reader import Reader
from manifests.records import AGAIN, METADATA, read_json, read_record, version_of
from manifests.records import Commit as Commit
from manifests.records import Plan as Plan
from manifests.schema import PLAN, SCHEMA_VERSION, Item, Unit, canonical_json
from manifests.schema import DatasetError as DatasetError
from manifests.storage import Store

if TYPE_CHECKING:
    from manifests.read.torch_datasets import Examples, StreamedExamples, Transform

SEEN = "seen.parquet"
"""Sizes and times of the source's files, in an unfinished dataset (pipelines/run/seen.py). It is no part of the data:
copies of a source differ in their times, and give the same dataset."""

_ROW_GROUP_ITEMS = 16_384
DESCRIPTION = {
    "task": str,
    "fingerprint": str,
    "config": Mapping[str, Any],
    "versions": Mapping[str, str],
    "licences": Mapping[str, str],
    "totals": Mapping[str, Any],
    "shards": Sequence[Mapping[str, Any]],
}
"""The entries of dataset.json that others use, by type."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OTHER_CONTENT = ": what was hashed has changed"
_MAX_SHOWN_CHARS = 80  # of one configuration value in an error


class Dataset(Reader):
    """One task's directory below OUT, local or at any fsspec URL: what it is planned to hold, and what it holds.

        dataset = Dataset("data/derain")
        for pair in dataset.pairs():
            pair.example("forward", "generate").instruction, pair.image("input"), pair.image("target")

    A directory may still be empty; what reads it raises DatasetError as long as it has no plan.
    """

    def __len__(self) -> int:
        """The number of committed pairs. Raises DatasetError if this is no dataset directory."""
        return self.counts()["pairs"]

    def counts(self) -> dict[str, int]:
        """How many pairs, examples and rejects are committed. Raises DatasetError if this is no dataset directory."""
        self._require_plan()
        if self.store.exists("dataset.json"):
            totals = self.description()["totals"]
            return {name: totals[name] for name in ("pairs", "examples", "rejects")}
        counts = {"pairs": 0, "examples": 0, "rejects": 0}
        for _, commit in self.commits():
            counts["pairs"] += commit.pairs
            counts["examples"] += sum(commit.examples.values())
            counts["rejects"] += sum(commit.rejects.values())
        return counts

    @overload
    def to_torch(self, *, iterable: Literal[False] = False, transform: Transform | None = None) -> Examples: ...

    @overload
    def to_torch(
        self,
        *,
        iterable: Literal[True],
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        transform: Transform | None = None,
    ) -> StreamedExamples: ...

    def to_torch(
        self,
        *,
        iterable: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        transform: Transform | None = None,
    ) -> Examples | StreamedExamples:
        """The examples as a PyTorch dataset, map-style or, if asked for, iterable; see `read.torch_datasets`.

        The options from `shuffle` to `world_size` are those of the iterable one: a map-style dataset is shuffled and
        sharded by the DataLoader's sampler. `transform` is called with each example's dictionary.
        """
        from manifests.read.torch_datasets import Examples, StreamedExamples

        if not iterable:
            if shuffle or seed or rank is not None or world_size is not None:
                raise ValueError("shuffle, seed, rank and world_size are options of to_torch(iterable=True)")
            return Examples(self, transform)
        return StreamedExamples(self, transform, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size)

    def _repr_html_(self) -> str:
        """What a notebook shows: name, counts, state, and some pairs as small pictures."""
        plan, counts = self.plan(), self.counts()
        pairs, examples, rejects = (f"{counts[name]:,} {name}" for name in ("pairs", "examples", "rejects"))
        units = f"{len(self.committed()):,} of {plan.units:,} units"
        state = "finished" if self.store.exists("dataset.json") else f"unfinished, {units}"
        return card(f"{plan.task} ({self.url})", f"{pairs}, {examples}, {rejects}; {state}", self.pairs())

    def __repr__(self) -> str:
        return f"Dataset({self.url!r})"

    def write_plan(self, task: str, config: Mapping[str, Any], fingerprint: str, table: pa.Table) -> Plan:
        """Write plan.parquet, or accept the one that is there if its fingerprint is the same.

        Raises DatasetError if another plan is there, or units of another plan that is gone: data of two configurations
        is never mixed.
        """
        plan = Plan(
            task=task,
            fingerprint=fingerprint,
            config=config,
            units=table["unit"][-1].as_py() + 1,
            items=table.num_rows,
        )
        if self.store.exists("plan.parquet"):
            there = self.plan()
            if there.fingerprint != fingerprint:
                if (was := version_of(self.store.read("plan.parquet"))) != SCHEMA_VERSION:
                    finished = self.store.exists("dataset.json")
                    state = "It stays readable as it is" if finished else "Only that version can finish it"
                    raise DatasetError(
                        f"{shlex.quote(self.url)} was begun by an earlier version of this package, of schema version "
                        f"{was}; this one writes {SCHEMA_VERSION}. {state}: choose another OUT to make it anew."
                    )
                raise DatasetError(
                    f"{shlex.quote(self.url)} holds data of another configuration. Choose another OUT, or remove the "
                    f"directory if you no longer need it. What differs: {difference(there.config, config)}"
                )
            return there
        ours = re.compile(rf"({re.escape(task)}-[0-9]{{6,}})\.parquet")
        for name in (match[1] for file in self.store.names("manifest") if (match := ours.fullmatch(file))):
            if self.commit(name).fingerprint != fingerprint:
                raise DatasetError(
                    f"{self.url}/manifest/{name}.parquet is of another configuration than this plan. "
                    "Choose another OUT, or remove the directory if you no longer need it."
                )
        write_table(self.store, "plan.parquet", table, vars(plan), _unit_boundaries(table))
        return plan

    def unit(self, plan: Plan, index: int) -> Unit:
        """One unit's slice of the plan; only the row group that holds it is read.

        Raises DatasetError if the plan has been changed since it was written.
        """
        file = _plan_file(self.url, plan.fingerprint)
        for group in range(file.num_row_groups):
            statistics = file.metadata.row_group(group).column(0).statistics
            if statistics is None or statistics.min <= index <= statistics.max:
                rows = file.read_row_group(group).filter(pc.field("unit") == index)
                items = tuple(
                    Item(ref=row["ref"], files=tuple(row["files"]), index=row["index"], bytes=row["bytes"])
                    for row in rows.to_pylist()
                )
                if items:
                    return Unit(index=index, name=plan.name(index), items=items)
        raise DatasetError(f"{self.url}/plan.parquet has no unit {index}: it was edited; {AGAIN}")

    def committed(self) -> set[int]:
        """Indices of the units whose manifest has appeared: a listing, no manifest is opened.

        What else lies in the folder, a copy or a backup, is no commit: `verify` names it.
        """
        return {unit for unit, _ in self._manifests()}

    def commit(self, name: str) -> Commit:
        """What a unit's manifest records. Raises DatasetError, naming the file, if it cannot be read."""
        return read_record(Commit, self.store, self.url, f"manifest/{name}.parquet")[0]

    def commits(self) -> Iterator[tuple[str, Commit]]:
        """Name and record of each committed unit, in order."""
        for _, name in self._manifests():
            yield name, self.commit(name)

    def description(self) -> dict[str, Any]:
        """The content of dataset.json. Raises DatasetError while the dataset is unfinished, or if it was edited."""
        if not self.store.exists("dataset.json"):
            raise DatasetError(f"{self.url} is unfinished: run the command that makes it again, then this one")
        return read_json(self.store, self.url, "dataset.json", DESCRIPTION)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The config entries that differ, in one line; hashes, which tell people nothing, only if nothing else differs."""
    changes = sorted(_changes(dict(old), dict(new), ""))
    told = [change for change in changes if not change.endswith(_OTHER_CONTENT)] or changes
    return "; ".join(told)


def find_datasets(url: str) -> list[Dataset]:
    """The dataset at a URL, or those directly below it (OUT with one folder per task).

    Raises DatasetError if there is none.
    """
    store = Store(url)
    if store.exists("plan.parquet"):
        return [Dataset(url)]
    below = [Dataset(f"{url.rstrip('/')}/{name}") for name in store.names("") if store.exists(f"{name}/plan.parquet")]
    if not below:
        raise DatasetError(f"no dataset at {url}: neither it nor a folder in it has a plan.parquet")
    return below


def folders_below(url: str) -> list[str]:
    """Folders below a local one that hold datasets which `find_datasets`, one level deep, does not find there."""
    store = Store(url)
    if not store.is_local or store.exists("plan.parquet"):
        return []
    plans = [plan for depth in ("*/*", "*/*/*") for plan in Path(store.root).glob(f"{depth}/plan.parquet")]
    return sorted({str(plan.parents[1]) for plan in plans})


def plan_table(units: Iterable[Iterable[Item]]) -> pa.Table:
    """The rows of plan.parquet for the items of each unit in turn."""
    batches = []
    numbered = ((number, item) for number, items in enumerate(units) for item in items)
    while chunk := list(itertools.islice(numbered, _ROW_GROUP_ITEMS)):
        columns = [
            [number for number, _ in chunk],
            [item.ref for _, item in chunk],
            [list(item.files) for _, item in chunk],
            [item.index for _, item in chunk],
            [item.bytes for _, item in chunk],
        ]
        batches.append(pa.record_batch(columns, schema=PLAN))
    return pa.Table.from_batches(batches, schema=PLAN)


def write_table(
    store: Store, name: str, table: pa.Table, metadata: Mapping[str, Any], groups: Iterable[int] = ()
) -> bytes:
    """Write a Parquet file with our metadata, in row groups that end at the given rows; return its bytes."""
    values = {"schema_version": SCHEMA_VERSION, **metadata}
    schema = table.schema.with_metadata({METADATA: canonical_json(values).encode()})
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd", write_page_checksum=True) as writer:
        for start, stop in itertools.pairwise([0, *groups, table.num_rows]):
            writer.write_table(table.slice(start, stop - start).cast(schema), row_group_size=max(1, stop - start))
    store.write_bytes(name, buffer.getvalue())
    return buffer.getvalue()


def _unit_boundaries(table: pa.Table) -> Iterator[int]:
    """Row numbers where a new row group begins: at unit boundaries, every _ROW_GROUP_ITEMS items or so."""
    units = table["unit"].to_numpy()
    last = 0
    for row in (units[1:] != units[:-1]).nonzero()[0] + 1:
        if row - last >= _ROW_GROUP_ITEMS:
            yield int(row)
            last = row


@lru_cache(maxsize=4)
def _plan_file(url: str, fingerprint: str) -> ParquetFile:
    """The open plan; the fingerprint is part of the cache's key, since a directory can be emptied and planned anew."""
    return ParquetFile(Dataset(url).store.open("plan.parquet"))


def _changes(old: Any, new: Any, name: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {*old, *new}:
            yield from _changes(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            named = before.get("name") if isinstance(before, dict) else None
            yield from _changes(before, after, f"{name}.{named}" if named else f"{name}[{index}]")
    elif old != new and all(isinstance(value, str) and _SHA256.fullmatch(value) for value in (old, new)):
        yield f"{name}{_OTHER_CONTENT}"
    elif old != new:
        yield f"{name}: {_short(old)} there, {_short(new)} now"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}..."
