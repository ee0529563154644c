"""Replaces the in-context examples that a committed dataset's manifest parts name, when they are chosen from all of it.

A part is rewritten whole or not at all; shards and rejects stay as they are, and so do order, row groups and all other
columns. Writing the same contexts again writes nothing. A finished dataset is reopened first: its dataset.json, which
vouches for the parts' hashes, is kept as reopened.json until all parts are rewritten and it is written anew. A crash in
between leaves an unfinished dataset, which the same command finishes.
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from manifests.dataset import DESCRIPTION, Commit, Dataset, DatasetError, Plan, write_table
from manifests.parquet import ParquetFile
from manifests.records import read_json
from manifests.schema import MANIFEST
from manifests.versions import read_manifest, with_contexts
from manifests.write.finish import finish, shard_entry

_REOPENED = "reopened.json"


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """The in-context examples of a part."""

    ranked: pa.ListArray
    """For each row of the part a list of manifests.schema.CONTEXT, the best first; empty where there is none."""
    method: str
    """How they were chosen."""


def read_columns(dataset: Dataset, name: str, columns: list[str]) -> pa.Table:
    """Some columns of a unit's manifest."""
    with dataset.store.open(f"manifest/{name}.parquet") as file:
        return read_manifest(ParquetFile(file), columns)


def needing(table: pa.Table, plan: Plan) -> pa.BooleanArray:
    """Of rows with the columns direction, kind and inputs, which are to have an in-context example."""
    columns = (table[name].to_pylist() for name in ("direction", "kind", "inputs"))
    return pa.array([plan.needs_context(*example) for example in zip(*columns, strict=True)], pa.bool_())


def write_contexts(dataset: Dataset, name: str, contexts: Contexts) -> Commit:
    """Make these the contexts of a unit's rows; return what its manifest then records.

    Raises DatasetError if the dataset is finished and was edited or damaged since.
    """
    file = f"manifest/{name}.parquet"
    old = dataset.commit(name)
    with ParquetFile(io.BytesIO(dataset.store.read(file)), page_checksum_verification=True) as parquet:
        stored = parquet.read()
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    table = with_contexts(stored)
    has = pc.greater(pc.list_value_length(contexts.ranked), 0)
    method = pc.if_else(has, pa.scalar(contexts.method, pa.string()), pa.scalar(None, pa.string()))
    new = table
    for column, values in (("contexts", contexts.ranked), ("context_method", method)):
        new = new.set_column(new.schema.get_field_index(column), MANIFEST.field(column), values)
    without = pc.sum(pc.and_(needing(table, dataset.plan()), pc.invert(has))).as_py() or 0
    commit = replace(old, without_context=without)
    if new.equals(stored) and commit == old:
        return commit
    if dataset.store.exists("dataset.json"):
        _reopen(dataset)
    *groups, _ = itertools.accumulate(sizes) if sizes else (0,)
    # Parquet calls a list's values "element", Arrow "item"; MANIFEST's names make the writer's bytes.
    new = pa.Table.from_arrays(new.columns, schema=MANIFEST)
    write_table(dataset.store, file, new, vars(commit), groups)
    return commit


def finish_rewriting(dataset: Dataset, plan: Plan) -> None:
    """Remove what killed runs left, and finish a reopened dataset again."""
    for folder in ("manifest", "embeddings"):
        dataset.store.remove_temporary(folder)
    if dataset.store.exists(_REOPENED):
        if not dataset.store.exists("dataset.json"):
            description = read_json(dataset.store, dataset.url, _REOPENED, DESCRIPTION)
            finish(dataset, plan, versions=description["versions"], licences=description["licences"])
        dataset.store.remove(_REOPENED)


def _reopen(dataset: Dataset) -> None:
    """Set dataset.json aside. What was edited or damaged since it was written must not get a new hash that hides it."""
    description = dataset.description()
    known = {entry["name"]: entry for entry in description["shards"]}
    for name, commit in dataset.commits():
        if known.get(name) != shard_entry(name, commit, dataset.store.read(f"manifest/{name}.parquet")):
            raise DatasetError(
                f"{dataset.url}/manifest/{name}.parquet was changed since the dataset was finished: remove it and "
                "run the command that made it again"
            )
    dataset.store.write_bytes(_REOPENED, dataset.store.read("dataset.json"))
    dataset.store.remove("dataset.json")
