"""Processes that run SQL (manifests/read/sql_child.py): kept warm, bounded in memory, killed at a deadline.

A process has the names of the files that it may read. Their bytes come from here, over sockets, so that it needs no
file system, no network and no credentials; a dataset may lie anywhere.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

_PROGRAM = Path(__file__).with_name("sql_child.py")
_AT_ONCE = 4
"""Processes that run at the same time; who finds all of them busy waits."""

_CHANNELS = 4  # for files, of each process: DuckDB reads with several threads
_START_S = 60.0
_MAX_OVERHEAD_BYTES = 2**20  # of a reply, beyond its rows

Form = Literal["csv", "parquet"]

ReadBytes = Callable[[int, int | None], bytes]
"""The bytes of a file from an offset, so many; for None its size, in digits. Raises OSError or ValueError."""


class SqlError(ValueError):
    """A statement that is not run, or that failed. The message is one line."""

    def __init__(self, message: str, place: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.place = place
        """Where in the statement the error is, if it is known: the first character, and the one after the last."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The answer to a statement, of JSON values; `truncated` if it had more rows than these."""

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]
    truncated: bool


class Pool:
    """Processes that see the same files and views. Threads may share it; what it started ends with it."""

    def __init__(self, files: Mapping[str, ReadBytes], views: Sequence[str]) -> None:
        """Start the first process. Raises SqlError if it cannot make the views, which are statements."""
        self._files, self._views = files, views
        self._running: set[_Child] = set()
        self._idle: list[_Child] = []
        self._free = threading.Semaphore(_AT_ONCE)
        weakref.finalize(self, _end_all, self._running, os.getpid())
        self._idle.append(self._start())

    def run(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        *,
        is_foreign: bool,
        max_rows: int,
        max_bytes: int,
        timeout_s: float,
    ) -> Result:
        """Run a statement; a foreign one is checked to be a SELECT. Raises SqlError."""
        reply = self._ask(sql, parameters, is_foreign, "json", max_rows, max_bytes, timeout_s)
        found = json.loads(reply)
        return Result(
            columns=found["columns"], rows=[tuple(row) for row in found["rows"]], truncated=found["truncated"]
        )

    def export(self, sql: str, form: Form, *, max_bytes: int, timeout_s: float) -> bytes:
        """All rows of a foreign SELECT as a file of a form (`sql_child`). Raises SqlError, also for more bytes."""
        return self._ask(sql, (), True, form, 0, max_bytes, timeout_s)[1:]

    def _ask(
        self,
        sql: str,
        parameters: Sequence[Any],
        is_foreign: bool,
        form: str,
        max_rows: int,
        max_bytes: int,
        timeout_s: float,
    ) -> bytes:
        asked = {
            "sql": sql.encode(errors="replace").decode(),
            "parameters": list(parameters),
            "is_foreign": is_foreign,
            "form": form,
            "max_rows": max_rows,
            "max_bytes": max_bytes,
            "alive_s": timeout_s + 5,
        }
        with self._free:
            child = self._take()
            try:
                reply = child.ask(asked, max_bytes + _MAX_OVERHEAD_BYTES, timeout_s)
                failed = _failure(reply)
            except BaseException:
                self._running.discard(child)
                child.end()
                raise
            if failed and failed["is_broken"]:
                self._running.discard(child)
                child.end()
            else:
                self._idle.append(child)
        if failed:
            raise SqlError(failed["error"], failed["place"] and (failed["place"][0], failed["place"][1]))
        return reply

    def _take(self) -> _Child:
        """A process that is idle, or a new one."""
        with suppress(IndexError):
            while True:
                child = self._idle.pop()
                if child.is_alive():
                    return child
                self._running.discard(child)
                child.end()
        return self._start()

    def _start(self) -> _Child:
        child = _Child(self._files)
        self._running.add(child)
        try:
            reply = child.ask({"files": [*self._files], "views": self._views}, _MAX_OVERHEAD_BYTES, _START_S)
            failed = _failure(reply)
        except BaseException:
            self._running.discard(child)
            child.end()
            raise
        if failed:
            self._running.discard(child)
            child.end()
            raise SqlError(failed["error"])
        return child


class _Child:
    """One process, and the threads that serve it files."""

    def __init__(self, files: Mapping[str, ReadBytes]) -> None:
        pairs = [socket.socketpair() for _ in range(1 + _CHANNELS)]
        theirs = [there.fileno() for _, there in pairs]
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), *map(str, theirs)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=theirs,
        )
        for _, there in pairs:
            there.close()
        self._control, *channels = (Connection(here.detach()) for here, _ in pairs)
        for channel in channels:
            threading.Thread(target=_serve, args=(channel, files), daemon=True).start()

    def ask(self, message: Mapping[str, Any], max_bytes: int, timeout_s: float) -> bytes:
        """The reply to a message. Raises SqlError if the process ended, or has not answered in time."""
        deadline = time.monotonic() + timeout_s
        try:
            self._control.send_bytes(json.dumps(message).encode())
            if not self._control.poll(max(0.0, deadline - time.monotonic())):
                raise SqlError(f"stopped after {timeout_s:g} s: ask for less, for example one task")
            return self._control.recv_bytes(max_bytes)
        except (EOFError, OSError):
            raise SqlError(
                "the query ended its process, as one does that takes too much memory: ask for less"
            ) from None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """Kill the process, which may be at work; its threads here see that and end."""
        self._process.kill()
        self._process.wait()
        self._control.close()


def _failure(reply: bytes) -> dict[str, Any] | None:
    """What a reply says of an error, if it is one."""
    if not reply.startswith(b'{"error"'):
        return None
    failed: dict[str, Any] = {"place": None, "is_broken": False, **json.loads(reply)}
    return failed


def _serve(channel: Connection, files: Mapping[str, ReadBytes]) -> None:
    """Answer what a process asks of files, until it ends."""
    with channel, suppress(EOFError, OSError):
        while True:
            name, offset, length = json.loads(channel.recv_bytes(2**16))
            try:
                reply = b"=" + files[name](offset, length)
            except (OSError, ValueError) as error:
                reply = b"!" + " ".join(str(error).split()).encode(errors="replace")
            channel.send_bytes(reply)


def _end_all(running: set[_Child], process: int) -> None:
    """End what was started, unless this is a fork of the process that did so."""
    if os.getpid() == process:
        for child in running:
            child.end()
