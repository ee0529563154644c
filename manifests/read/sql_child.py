"""What a process of its own does that runs SQL for `manifests.read.sql_pool`: one statement after the other.

DuckDB's limits are of its buffers alone: a text of 2 GB or a list of 10**9 numbers is in none. So the process has a
bound from the system, and whoever started it kills it at a deadline. It is started by its file's name and imports
nothing of ours, which takes 0.2 s where `import manifests` takes a second.

DuckDB can be kept to a directory, but inside it some statements that count as a SELECT still write:
`WITH c AS (COPY ... TO ...) SELECT 1`, `EXPLAIN ANALYZE COPY ...`. So it is given no directory. Its one file system
is `ServedFiles`, which knows the names that it was told and asks the other process for their bytes.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import itertools
import json
import math
import os
import queue
import re
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any

import duckdb
from fsspec import AbstractFileSystem

MEMORY_BYTES = 2 * 2**30
"""What the process may take beyond what it has once it has started: above DuckDB's own limit, for all else."""

_SETTINGS = (
    "SET GLOBAL errors_as_json = true",  # with the place in the statement; GLOBAL: for all cursors
    "SET memory_limit = '1GB'",  # of DuckDB's buffers, hash tables and sorts; nothing spills to disk
    "SET temp_directory = ''",
    "SET parquet_metadata_cache = true",  # committed files never change
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",  # or `FROM x` would read the Python variable x
    "SET allowed_directories = ['manifests://']",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)

# What may stand before the statement that is explained. Neither quotes nor comments: they could hide another one.
_EXPLAIN = re.compile(r"\s*EXPLAIN(\s+ANALYZE)?(\s*\([\w\s,]*\))?\s", re.IGNORECASE)
_RAISED = re.compile(r"\w+: ")
_SAFE_INTEGER = 2**53 - 1  # beyond it JavaScript and many JSON readers round
_ROWS_AT_ONCE = 64
_EXPORTED_AT_ONCE = 2_048  # rows of an export: DuckDB's own vectors
_ROW_GROUP_BYTES = 8 * 2**20  # in memory, of an export's Parquet

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet may take as the beginning of a formula (OWASP, "CSV Injection")."""

_BROKEN = (MemoryError, duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InternalException)
"""After these another process goes on."""


class Refused(ValueError):
    """A statement that is not run, or an answer that is not given. The message is one line."""


def main() -> None:
    """Serve the statements that come over the first of the inherited sockets; the others are for files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that started this one, which then ends it
    control, *channels = (Connection(int(descriptor)) for descriptor in sys.argv[1:])
    task = json.loads(control.recv_bytes())
    _bound_memory()
    try:
        connection = connect(ServedFiles(task["files"], channels), task["views"])
    except (duckdb.Error, MemoryError) as error:
        control.send_bytes(json.dumps({"error": one_line(str(error))}).encode())
        return
    control.send_bytes(json.dumps({"ready": True}).encode())
    while True:
        try:
            asked = json.loads(control.recv_bytes())
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, asked["alive_s"])  # if nobody is there any more to end this process
        reply = _answer(connection, asked)
        signal.setitimer(signal.ITIMER_REAL, 0)
        control.send_bytes(reply)


def connect(files: ServedFiles, views: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """A connection that reads these files and nothing else of this machine, with views."""
    connection = duckdb.connect()
    connection.register_filesystem(files)
    for statement in (*_SETTINGS, *views):
        connection.execute(statement)
    return connection


def _bound_memory() -> None:
    with open("/proc/self/statm") as sizes:
        now = int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):  # it writes no file
        resource.setrlimit(limit, (0, 0))


def _answer(connection: duckdb.DuckDBPyConnection, asked: Mapping[str, Any]) -> bytes:
    """The reply to a statement: JSON, or "=" and the file that is asked for.

    An error's says where in the statement it is, if DuckDB knows: the first character and the one after the last. And
    it says whether the process is of no more use.
    """
    try:
        cursor = connection.cursor()
        if asked["is_foreign"]:
            _check(cursor, asked["sql"])
        return _FORMS[asked["form"]](cursor, asked)
    except (duckdb.Error, Refused, MemoryError, RecursionError) as error:
        message, place = told(error, asked["sql"])
        return json.dumps({"error": message, "place": place, "is_broken": isinstance(error, _BROKEN)}).encode()
    except (OverflowError, ValueError) as error:  # of an interval of ten million years, which DuckDB has and Python not
        return json.dumps({"error": f"a value cannot be shown, cast it to VARCHAR: {one_line(str(error))}"}).encode()


def _as_json(cursor: duckdb.DuckDBPyConnection, asked: Mapping[str, Any]) -> bytes:
    cursor.execute(asked["sql"], asked["parameters"])
    rows, size, max_rows = [], 0, asked["max_rows"]
    for row in itertools.islice(_rows(cursor, _ROWS_AT_ONCE), max_rows + 1):
        rows.append(json.dumps(plain(row)))
        size += len(rows[-1])
        _bound(size, asked)
    shown, truncated = ", ".join(rows[:max_rows]), json.dumps(len(rows) > max_rows)
    return f'{{"columns": {json.dumps(_names(cursor))}, "rows": [{shown}], "truncated": {truncated}}}'.encode()


def _as_csv(cursor: duckdb.DuckDBPyConnection, asked: Mapping[str, Any]) -> bytes:
    """All rows as RFC 4180 has them, in UTF-8, with a head line; lists and structs as JSON, NULL as nothing."""
    cursor.execute(asked["sql"], asked["parameters"])
    buffer = io.BytesIO()
    text = io.TextIOWrapper(buffer, "utf-8", errors="replace", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(map(_field, _names(cursor)))
    for row in _rows(cursor, _EXPORTED_AT_ONCE):
        writer.writerow([_field(plain(value)) for value in row])
        _bound(buffer.tell(), asked)
    return b"=" + buffer.getvalue()


def _as_parquet(cursor: duckdb.DuckDBPyConnection, asked: Mapping[str, Any]) -> bytes:
    """All rows with DuckDB's types."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve more than a bounded process may have
    import pyarrow as pa  # 0.1 s, which statements that are only shown need not take
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    reader = cursor.sql(asked["sql"]).to_arrow_reader(_EXPORTED_AT_ONCE)  # `execute` would make all rows first
    try:
        with pq.ParquetWriter(buffer, reader.schema, compression="zstd") as writer:
            waiting: list[Any] = []
            for batch in reader:
                waiting.append(batch)
                if sum(one.nbytes for one in waiting) > _ROW_GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(waiting))
                    waiting.clear()
                    _bound(buffer.tell(), asked)
            writer.write_table(pa.Table.from_batches(waiting, reader.schema))
        _bound(buffer.tell(), asked)
    except OSError as error:  # what DuckDB says on the way; a file it is not
        raise Refused(told(error, asked["sql"])[0]) from None
    except pa.ArrowException as error:
        raise Refused(f"this cannot be written as Parquet, cast it to VARCHAR: {one_line(str(error))}") from None
    return b"=" + buffer.getvalue()


_FORMS = {"json": _as_json, "csv": _as_csv, "parquet": _as_parquet}


def _field(value: Any) -> Any:
    """A value as a field of CSV. What a spreadsheet would run as a formula is marked as text, by an apostrophe."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value
    return json.dumps(value, ensure_ascii=False)


def _is_number(text: str) -> bool:
    """Whether this is a number in digits, as `plain` makes of one that JSON readers would round."""
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) is not None


def _names(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in cursor.description or ()]


def _bound(size: int, asked: Mapping[str, Any]) -> None:
    if size > asked["max_bytes"]:
        raise Refused(f"the answer has more than {asked['max_bytes'] / 2**20:g} MiB: ask for fewer rows")


def _rows(cursor: duckdb.DuckDBPyConnection, at_once: int) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(at_once):
        yield from rows


def _check(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse, in a clear line, what is not one SELECT. The file system keeps writes out in any case."""
    statements = cursor.extract_statements(sql)
    if len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN:
        explain = _EXPLAIN.match(sql)
        statements = cursor.extract_statements(sql[explain.end() :]) if explain else []
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise Refused("refused: one statement is run at a time, a SELECT or the EXPLAIN of one; data is read-only")


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


def told(error: BaseException, sql: str) -> tuple[str, tuple[int, int] | None]:
    """What an error says in one line, and its place in the statement: the first character, and the one after the last.

    DuckDB counts in bytes of UTF-8.
    """
    kind, _, text = str(error).partition(": ")
    try:
        said = json.loads(text)
        message = f"{kind}: {said['exception_message']}"
    except (ValueError, TypeError, KeyError, RecursionError):  # not of DuckDB's, or of a file
        return one_line(str(error) or type(error).__name__), None
    found = re.fullmatch(r"\[(\d+),(\d+)\]", str(said.get("location")))
    if not found:
        return one_line(message), None
    start, length = int(found[1]), int(found[2])
    bytes_before = sql.encode()[:start], sql.encode()[: start + length]
    first, end = (len(part.decode(errors="ignore")) for part in bytes_before)
    return one_line(message), (first, end)


def one_line(text: str) -> str:
    """What DuckDB says, with its suggestions ("Did you mean")."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):  # raised in our file system, between its places
        return next((line for line in reversed(lines) if _RAISED.match(line)), lines[0])
    return " ".join(line.strip() for line in lines)


class ServedFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of the other process, read-only, by their names and sizes."""

    protocol = "manifests"
    cachable = False  # two instances may show two datasets

    def __init__(self, names: Sequence[str], channels: Sequence[Connection]) -> None:
        super().__init__()
        self._names = dict.fromkeys(names)
        self._sizes: dict[str, int] = {}
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        for channel in channels:
            self._free.put(channel)

    def glob(self, path: str, **_: Any) -> list[str]:
        return fnmatch.filter(self._names, self._strip_protocol(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        name = self._strip_protocol(path)
        if name not in self._names:
            raise FileNotFoundError(path)
        if name not in self._sizes:
            self._sizes[name] = int(self.ask(name, 0, None))
        return {"name": name, "size": self._sizes[name], "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(0, UTC)  # committed files never change

    def _open(self, path: str, mode: str = "rb", **_: Any) -> ServedFile:
        if mode != "rb":
            raise PermissionError(f"{path}: datasets are read-only here")
        return ServedFile(self, self.info(path)["name"])

    def ask(self, name: str, offset: int, length: int | None) -> bytes:
        """The `length` bytes at `offset` of a file; for None its size, in digits."""
        channel = self._free.get()
        try:
            channel.send_bytes(json.dumps([name, offset, length]).encode())
            reply = channel.recv_bytes()
        finally:
            self._free.put(channel)
        if reply[:1] == b"!":
            raise OSError(reply[1:].decode())
        return reply[1:]


class ServedFile:
    """A file as DuckDB reads it: several threads seek, then read. So each thread has its own position."""

    def __init__(self, files: ServedFiles, name: str) -> None:
        self._files, self._name = files, name
        self._at = threading.local()

    def seek(self, offset: int) -> None:
        self._at.offset = offset

    def tell(self) -> int:
        return getattr(self._at, "offset", 0)

    def read(self, length: int) -> bytes:
        offset = self.tell()
        data = self._files.ask(self._name, offset, length)
        self.seek(offset + len(data))
        return data

    def close(self) -> None:
        """Nothing is held open."""


if __name__ == "__main__":
    main()
    os._exit(0)  # at once: DuckDB's threads may be at work on what nobody wants any more
