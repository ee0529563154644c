"""SQL over manifests: a DuckDB connection that reads what committed units name, and nothing else of this machine.

DuckDB can be kept to a directory, but inside it some statements that count as a SELECT still write:
`WITH c AS (COPY ... TO ...) SELECT 1`, `EXPLAIN ANALYZE COPY ...`. So it is given no directory. Its one file system
is `_CommittedFiles`, which knows the Parquet files of committed units and only reads; through it, local folders and
object stores are the same.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
from fsspec import AbstractFileSystem

from manifests.dataset import Dataset, DatasetError, find_datasets
from manifests.schema import MANIFEST, REJECTS
from manifests.storage import Store
from manifests.write.finish import Totals

MAX_ROWS = 1_000
TIMEOUT_S = 30.0
_MEMORY_LIMIT = "1GB"  # of DuckDB's buffers, hash tables and sorts; nothing spills to disk

_SETTINGS = (
    f"SET memory_limit = '{_MEMORY_LIMIT}'",
    "SET temp_directory = ''",
    "SET parquet_metadata_cache = true",  # committed files never change
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",  # or `FROM x` would read the Python variable x
    "SET allowed_directories = ['manifests://']",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)

_PAIRS = """
CREATE VIEW pairs AS
SELECT pair, task, any_value(COLUMNS(['prototype_task', 'shard', 'images', 'scores', 'source', 'source_ref',
                                      'source_group', 'licence', 'parents', 'steps'])),
       list(struct_pack(direction, kind, instruction, inputs, output, text, context_pair, context_method)
            ORDER BY direction, kind DESC) AS examples
FROM examples GROUP BY pair, task
"""

# What may stand before the statement that is explained. Neither quotes nor comments: they could hide another one.
_EXPLAIN = re.compile(r"\s*EXPLAIN(\s+ANALYZE)?(\s*\([\w\s,]*\))?\s", re.IGNORECASE)
_RAISED = re.compile(r"\w+: ")
_QUOTED = re.compile(r"LINE \d+:")  # the statement and a caret below it follow
_SAFE_INTEGER = 2**53 - 1  # beyond it JavaScript and many JSON readers round


class SqlError(ValueError):
    """A statement that is not run, or that failed. The message is one line."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer to a statement; `truncated` if it had more rows than these."""

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]
    truncated: bool


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


def connect(url: str) -> duckdb.DuckDBPyConnection:
    """A locked-down connection with the views `examples`, `pairs` and `rejects` over the dataset(s) at a URL.

    It shows the units that are committed now. A thread needs its own `cursor()`. Raises DatasetError as
    `datasets_by_task` does.
    """
    files = _CommittedFiles(datasets_by_task(url))
    connection = duckdb.connect()
    connection.register_filesystem(files)
    for setting in _SETTINGS:
        connection.execute(setting)
    for view, folder, schema in (("examples", "manifest", MANIFEST), ("rejects", "rejects", REJECTS)):
        if not files.glob(f"*/{folder}/*"):
            connection.from_arrow(schema.empty_table()).create(view)
            continue
        try:
            connection.execute(f"CREATE VIEW {view} AS FROM read_parquet('manifests://*/{folder}/*')")
        except duckdb.Error as error:
            raise DatasetError(f"the {folder} files at {url} cannot be read: {_one_line(error)}") from None
    connection.execute(_PAIRS)
    return connection


def run_sql(
    connection: duckdb.DuckDBPyConnection, sql: str, *, max_rows: int = MAX_ROWS, timeout_s: float = TIMEOUT_S
) -> Result:
    """Run one SELECT, or EXPLAIN of one. Raises SqlError: refused, wrong, too slow or too big."""
    cursor = connection.cursor()
    _check(cursor, sql)
    return _fetch(cursor, sql, (), max_rows, timeout_s)


def select(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Rows of a query of our own, as dictionaries of JSON values. Raises SqlError as `run_sql` does."""
    result = _fetch(connection.cursor(), sql, parameters, MAX_ROWS, TIMEOUT_S)
    return [dict(zip(result.columns, plain(row), strict=True)) for row in result.rows]


def read_image(dataset: Dataset, shard: str, image: Mapping[str, Any]) -> bytes:
    """The bytes of an image, a struct of the manifest's column `images`: one positioned read.

    Raises DatasetError as `Shards.read` does.
    """
    return dataset.shards.read(shard, image["offset"], image["bytes"])


def plain(value: Any) -> Any:
    """A DuckDB value as JSON can hold it; integers that readers would round, dates and the like become strings."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= _SAFE_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case bytes():
            return f"({len(value):,} bytes)"
    return str(value)


def _fetch(
    cursor: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any], max_rows: int, timeout_s: float
) -> Result:
    watchdog = threading.Timer(timeout_s, cursor.interrupt)
    watchdog.start()
    try:
        cursor.execute(sql, parameters)
        columns = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchmany(max_rows + 1)
    except duckdb.InterruptException:
        raise SqlError(f"stopped after {timeout_s:g} s: ask for less, for example one task") from None
    except (duckdb.Error, MemoryError) as error:
        raise SqlError(_one_line(error)) from None
    finally:
        watchdog.cancel()
    return Result(columns=columns, rows=rows[:max_rows], truncated=len(rows) > max_rows)


def _check(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse, in a clear line, what is not one SELECT. The file system keeps writes out in any case."""
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN:
            explain = _EXPLAIN.match(sql)
            statements = cursor.extract_statements(sql[explain.end() :]) if explain else []
    except duckdb.Error as error:
        raise SqlError(_one_line(error)) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise SqlError("refused: one statement is run at a time, a SELECT or the EXPLAIN of one; data is read-only")


def _one_line(error: BaseException) -> str:
    """What DuckDB says, with its suggestions ("Did you mean"), less the quoted statement at its end."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Traceback"):  # raised in our file system, between its places
        return next((line for line in reversed(lines) if _RAISED.match(line)), lines[0])
    message = itertools.takewhile(lambda line: not _QUOTED.match(line), lines)
    return " ".join(line.strip() for line in message) or lines[0]


class _CommittedFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The Parquet files of committed units, read-only: `<task>/manifest/<name>` and `<task>/rejects/<name>`."""

    protocol = "manifests"
    cachable = False  # two instances may show two URLs

    def __init__(self, datasets: Mapping[str, Dataset]) -> None:
        super().__init__()
        self._files = {
            f"{task}/{folder}/{name}": (dataset.store, f"{folder}/{name}")
            for task, dataset in datasets.items()
            for name in dataset.store.names("manifest")
            for folder in ("manifest", "rejects")
        }
        self._sizes: dict[str, int] = {}

    def glob(self, path: str, **_: Any) -> list[str]:
        return fnmatch.filter(self._files, self._strip_protocol(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        name = self._strip_protocol(path)
        if name not in self._files:
            raise FileNotFoundError(path)
        if name not in self._sizes:
            store, stored_name = self._files[name]
            self._sizes[name] = int(store.fs.size(store.path(stored_name)))
        return {"name": name, "size": self._sizes[name], "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(0, UTC)  # committed files never change

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _CommittedFile:
        if mode != "rb":
            raise PermissionError(f"{path}: datasets are read-only here")
        return _CommittedFile(*self._files[self.info(path)["name"]])


class _CommittedFile:
    """A file as DuckDB reads it: several threads seek, then read. So each thread has its own position."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        self._at = threading.local()

    def seek(self, offset: int) -> None:
        self._at.offset = offset

    def tell(self) -> int:
        return getattr(self._at, "offset", 0)

    def read(self, length: int) -> bytes:
        offset = self.tell()
        data = self._store.read(self._name, offset, length)
        self.seek(offset + len(data))
        return data

    def close(self) -> None:
        """Nothing is held open."""
