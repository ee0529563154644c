"""SQL over manifests: what reads the committed units of datasets, and nothing else of this machine.

Statements run in processes of their own: see `manifests.read.sql_pool` and, for what keeps them in, `sql_child`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.dataset import Dataset, DatasetError, find_datasets
from manifests.licences.sql import terms_of, terms_view
from manifests.read.sql_pool import Form, Pool, ReadBytes, Result, SqlError
from manifests.schema import MANIFEST, REJECTS
from manifests.tables import check_columns, empty_parquet
from manifests.versions import as_today, rejects_as_today, rejects_schema_of, schema_of
from manifests.write.finish import Totals

MAX_ROWS = 1_000
MAX_RESULT_BYTES = 64 * 2**20
"""The most that an answer's rows may have, as JSON; what is larger is read with `manifests.Dataset`."""

TIMEOUT_S = 30.0

_FOLDERS = {"examples": "manifest", "rejects": "rejects"}
_SCHEMAS = {"manifest": MANIFEST, "rejects": REJECTS}
_EMPTY = "!empty.parquet"
"""A table without rows, before those of a task: DuckDB takes the columns from the first file. So a process can start,
and be asked of other tasks, when files of a task are no longer there."""

_PAIRS = """
CREATE VIEW pairs AS
SELECT pair, task, any_value(COLUMNS(['prototype_task', 'shard', 'images', 'scores', 'source', 'source_ref',
                                      'source_group', 'licence', 'parents', 'steps'])),
       list(struct_pack(direction, kind, instruction, inputs, output, text, contexts, context_method)
            ORDER BY direction, kind DESC) AS examples
FROM examples GROUP BY pair, task
"""


def datasets_by_task(url: str) -> dict[str, Dataset]:
    """The datasets at a URL by their task. Raises DatasetError if there is none, or two of one task."""
    datasets: dict[str, Dataset] = {}
    for dataset in find_datasets(url):
        task = dataset.plan().task
        if task in datasets:
            raise DatasetError(f"{datasets[task].url} and {dataset.url} both hold {task}: name one of them")
        datasets[task] = dataset
    return datasets


def overview(dataset: Dataset) -> dict[str, Any]:
    """A dataset's task, `units` planned and `committed`, `finished` or not, and the totals of dataset.json so far."""
    plan = dataset.plan()
    finished = dataset.store.exists("dataset.json")
    if finished:
        totals = dataset.description()["totals"]
    else:
        so_far = Totals()
        for _, commit in dataset.commits():
            so_far.add(commit)
        totals = so_far.as_json()
    return {
        "task": plan.task,
        "url": dataset.url,
        "units": plan.units,
        "committed": totals["shards"],
        "finished": finished,
        **totals,
    }


def rows_of(view: str, task: str) -> str:
    """What stands behind FROM for the rows of `examples`, `rejects` or `terms` that are of one task, or of all for "".

    No file of another task is opened. Those of `examples` and `rejects` have filename and file_row_number, too.
    """
    if view == "terms":
        return f"({terms_of(rows_of('examples', task))})"
    return f"read_parquet('manifests://{task or '*'}/{_FOLDERS[view]}/*')"


MANIFESTS = rows_of("examples", "")
"""All manifests, for statements of our own."""


def connect(url: str) -> Pool:
    """Locked-down processes with the views `examples`, `pairs`, `terms` and `rejects` over the dataset(s) at a URL.

    `terms` has the licences of each pair and what they allow (manifests/licences/sql.py). The views show the units that
    are committed now, and threads may share them. Raises DatasetError as `datasets_by_task` does, or if manifests
    cannot be read.
    """
    files: dict[str, ReadBytes] = {}
    tables: dict[str, _Table] = {}
    for task, dataset in datasets_by_task(url).items():
        for folder, schema in _SCHEMAS.items():
            files[f"{task}/{folder}/{_EMPTY}"] = partial(_bytes_of, empty_parquet(schema))
            for name in dataset.unit_names():
                table = _Table(dataset, folder, name, schema)
                files[f"{task}/{folder}/{name}.parquet"] = table.read
                tables.setdefault(folder, table)
    views = [f"CREATE VIEW {view} AS FROM {rows_of(view, '')}" for view in _FOLDERS]
    try:
        for table in tables.values():
            table.read(0, None)  # what is wrong with the first of them is said now
        return Pool(files, [*views, _PAIRS, terms_view()])
    except (SqlError, DatasetError, OSError) as error:
        raise DatasetError(f"the manifests at {url} cannot be read: {error}") from None


def manifest_file(task: str, unit: str) -> str:
    """The filename, in `MANIFESTS`, of a unit's manifest."""
    return f"manifests://{task}/manifest/{unit}.parquet"


def run_sql(pool: Pool, sql: str, *, max_rows: int = MAX_ROWS, timeout_s: float = TIMEOUT_S) -> Result:
    """Run one SELECT, or EXPLAIN of one, of anybody's. Raises SqlError: refused, wrong, too slow or too big."""
    return pool.run(sql, is_foreign=True, max_rows=max_rows, max_bytes=MAX_RESULT_BYTES, timeout_s=timeout_s)


def export_sql(pool: Pool, sql: str, form: Form, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """All rows of one SELECT of anybody's, as a file. Raises SqlError as `run_sql` does."""
    return pool.export(sql, form, max_bytes=MAX_RESULT_BYTES, timeout_s=timeout_s)


def select(pool: Pool, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Rows of a query of our own, as dictionaries of JSON values. Raises SqlError as `run_sql` does."""
    result = pool.run(
        sql, parameters, is_foreign=False, max_rows=MAX_ROWS, max_bytes=MAX_RESULT_BYTES, timeout_s=TIMEOUT_S
    )
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def read_image(dataset: Dataset, shard: str, image: Mapping[str, Any]) -> bytes:
    """The bytes of an image, a struct of the manifest's column `images`: one positioned read.

    Raises DatasetError as `Shards.read` does.
    """
    offset, length = image["offset"], image["bytes"]
    if not isinstance(offset, int) or not isinstance(length, int):  # digits: it is too large a number for JSON
        raise DatasetError(f"{dataset.url}: a manifest names an impossible place, {shard!r} at {offset}")
    return dataset.shards.read(shard, offset, length)


class _Table:
    """A Parquet file of a committed unit, which is looked at when its bytes are first asked for.

    A table of an earlier version is made one of today's, which takes its time with each request.
    """

    def __init__(self, dataset: Dataset, folder: str, unit: str, schema: pa.Schema) -> None:
        self._dataset, self._unit, self._schema = dataset, unit, schema
        self._name = f"{folder}/{unit}.parquet"
        self._is_checked = self._is_old = False

    def read(self, offset: int, length: int | None) -> bytes:
        """The bytes from an offset; for None the size, in digits. Raises DatasetError if the columns are not ours."""
        store = self._dataset.store
        if not self._is_checked:
            try:
                with store.open(self._name) as file:
                    there = pq.read_schema(file)
                stored = schema_of(there) if self._schema is MANIFEST else rejects_schema_of(there)
                self._is_old = stored is not self._schema
                check_columns(there, stored)
            except (pa.ArrowException, OSError, DatasetError) as error:
                raise DatasetError(f"{self._dataset.url}/{self._name}: {error}") from None
            self._is_checked = True
        if self._is_old:
            data = store.read(self._name)
            is_manifest = self._schema is MANIFEST
            today = as_today(data) if is_manifest else rejects_as_today(data, f"{self._unit}.tar")
            return _bytes_of(today, offset, length)
        return str(store.size(self._name)).encode() if length is None else store.read(self._name, offset, length)


def _bytes_of(file: bytes, offset: int, length: int | None) -> bytes:
    return str(len(file)).encode() if length is None else file[offset : offset + length]
