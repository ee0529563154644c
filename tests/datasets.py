"""Makes datasets in this process, without Ray, and looks into finished ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.dataset import Dataset
from manifests.schema import MANIFEST
from manifests.write.contexts import Contexts
from manifests.write.finish import finish
from operators.base import Reader
from pipelines.run.plan import Job, find_source, make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.task import Task

Row = dict[str, Any]


def make_dataset(out: Path, data: Path | None, *, task: Task = DERAIN, reader: Reader | None = None) -> Dataset:
    """The finished dataset of a source, as `xprompt shards` makes it."""
    job = plan_job(out, data, task=task, reader=reader)
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    finish_job(job)
    return job.dataset


def plan_job(out: Path, data: Path | None, *, task: Task = DERAIN, reader: Reader | None = None) -> Job:
    reader = reader or reader_of(task, data)
    return make_job(task, reader, str(out / task.name), 0)


def reader_of(task: Task, data: Path | str | None) -> Reader:
    """The reader of what a folder holds, or of the bundled input."""
    return find_source(task, str(data) if data else None).reader


def finish_job(job: Job) -> None:
    finish(job.dataset, job.plan, versions=versions(job.task), licences={job.reader.source: job.reader.licence})


def examples(dataset: Dataset) -> list[Row]:
    """The rows of all manifests."""
    return _rows(dataset, "manifest")


def nearest(row: Row) -> Row:
    """The best in-context example of a row; "pair", "dataset" and "score" are None where there is none."""
    none: Row = dict.fromkeys(("pair", "dataset", "score"))
    return row["contexts"][0] if row["contexts"] else none


def contexts_of(*ranked: Sequence[tuple[str, str | None, float | None]], method: str = "raie") -> Contexts:
    """Of each row the pair, dataset and score of each in-context example, as they are written."""
    lists = [[dict(zip(("pair", "dataset", "score"), one, strict=True)) for one in row] for row in ranked]
    return Contexts(ranked=pa.array(lists, MANIFEST.field("contexts").type), method=method)


def rejects(dataset: Dataset) -> list[Row]:
    """The rows of all rejects tables."""
    return _rows(dataset, "rejects")


def reasons(dataset: Dataset) -> dict[str, str]:
    """Reject reason by source reference."""
    rows = rejects(dataset)
    found = {row["source_ref"]: row["reason"] for row in rows}
    assert len(found) == len(rows), "an item is rejected twice"
    return found


def totals(dataset: Dataset) -> Row:
    """What dataset.json counts."""
    found: Row = dataset.description()["totals"]
    return found


def image(row: Row, role: str) -> Row:
    """The manifest's record of one image of an example."""
    (found,) = (entry for entry in row["images"] if entry["role"] == role)
    return dict(found)


def stored_bytes(dataset: Dataset, row: Row, role: str) -> bytes:
    """The bytes of an example's image, by the place that the manifest names."""
    place = image(row, role)
    return dataset.store.read(f"shards/{row['shard']}", place["offset"], place["bytes"])


def params(row: Row, operator: str) -> Row:
    """The recorded parameters of one step of an example's pair."""
    (step,) = (step for step in row["steps"] if step["operator"] == operator)
    found: Row = json.loads(step["params"])
    return found


def sha256_by_file(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, hidden and temporary ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _rows(dataset: Dataset, folder: str) -> list[Row]:
    rows: list[Row] = []
    for name in dataset.store.names(folder):
        rows += pq.ParquetFile(dataset.store.open(f"{folder}/{name}")).read().to_pylist()
    return rows
