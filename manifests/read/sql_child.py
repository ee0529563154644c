"""What a process of its own does that runs SQL for `manifests.read.sql_pool`: one statement after the other.

DuckDB's limits are of its buffers alone: a text of 2 GB or a list of 10**9 numbers is in none. So the process has a
bound from the system, and whoever started it kills it at a deadline. It is started by its file's name and imports
nothing of ours, which takes 0.2 s where `import manifests` takes a second.

DuckDB can be kept to a directory, but inside it some statements that count as a SELECT still write:
`WITH c AS (COPY ... TO ...) SELECT 1`, `EXPLAIN ANALYZE COPY ...`. So it is given no directory. Its one file system
is `ServedFiles`, which knows the names that it was told and asks the other process for their bytes.
"""

from __future__ import annotations

import fnmatch
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
_QUOTED = re.compile(r"LINE \d+:")  # the statement and a caret below it follow
_SAFE_INTEGER = 2**53 - 1  # beyond it JavaScript and many JSON readers round
_ROWS_AT_ONCE = 64
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
        control.send_bytes(json.dumps({"error": one_line(error)}).encode())
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
    """The reply to a statement. An error's says whether the process is of no more use after it."""
    try:
        cursor = connection.cursor()
        if asked["is_foreign"]:
            _check(cursor, asked["sql"])
        cursor.execute(asked["sql"], asked["parameters"])
        columns = json.dumps([column[0] for column in cursor.description or ()])
        rows, size = [], 0
        for row in itertools.islice(_rows(cursor), asked["max_rows"] + 1):
            rows.append(json.dumps(plain(row)))
            size += len(rows[-1])
            if size > asked["max_bytes"]:
                raise Refused(f"the answer has more than {asked['max_bytes'] / 2**20:g} MiB: ask for fewer rows")
        truncated = json.dumps(len(rows) > asked["max_rows"])
        shown = ", ".join(rows[: asked["max_rows"]])
        return f'{{"columns": {columns}, "rows": [{shown}], "truncated": {truncated}}}'.encode()
    except (duckdb.Error, Refused, MemoryError, RecursionError) as error:
        return json.dumps({"error": one_line(error), "is_broken": isinstance(error, _BROKEN)}).encode()
    except (OverflowError, ValueError) as error:  # of an interval of ten million years, which DuckDB has and Python not
        return json.dumps({"error": f"a value cannot be shown, cast it to VARCHAR: {one_line(error)}"}).encode()


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
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


def one_line(error: BaseException) -> str:
    """What DuckDB says, with its suggestions ("Did you mean"), less the quoted statement at its end."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if lines[0].startswith("Traceback"):  # raised in our file system, between its places
        return next((line for line in reversed(lines) if _RAISED.match(line)), lines[0])
    message = itertools.takewhile(lambda line: not _QUOTED.match(line), lines)
    return " ".join(line.strip() for line in message) or lines[0]


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
