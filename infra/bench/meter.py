"""Measures CPU time and memory of this process and its descendants while a block runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import ray  # noqa: F401  # isort: skip  # it brings psutil along and makes it importable
import psutil

_SAMPLE_EVERY_S = 0.25
_WORKER = ("ray::IDLE", "ray::made_unit", "ray::Painter")  # how Ray names the processes that run our units


Kind = Literal["driver", "workers", "rest of Ray"]
KINDS: tuple[Kind, ...] = ("driver", "workers", "rest of Ray")


@dataclass
class _Seen:
    kind: Kind
    before_s: float
    cpu_s: float
    peak_private_bytes: int


class Meter:
    """`with Meter() as meter: ...`, then its figures. `counts` says of a descendant's id whether it is to count.

    A thread looks every quarter second, so that a process that ends inside the block counts with what it had used by
    then; what looking costs is taken off. A process that was there before counts from its state at the beginning.
    """

    def __init__(self, counts: Callable[[int], bool] = lambda pid: True) -> None:
        self._counts = counts
        self._root = psutil.Process()
        self._seen: dict[tuple[int, float], _Seen] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._lock = threading.Lock()
        self._looking_s = 0.0  # CPU time of looking, which is not the job's
        self.wall_s = 0.0

    def __enter__(self) -> Self:
        self.look(first=True)
        self._thread.start()
        self.wall_s = -time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.wall_s += time.perf_counter()
        self._done.set()
        self._thread.join()
        self.look()

    @property
    def cpu_s(self) -> float:
        """User and system time of all that counted, seconds."""
        return sum(self.cpu_s_of(kind) for kind in KINDS)

    def cpu_s_of(self, kind: Kind) -> float:
        """The share of one kind of process. Workers are those of Ray; the pool of a plain script counts as "rest"."""
        with self._lock:
            used_s = sum(seen.cpu_s - seen.before_s for seen in self._seen.values() if seen.kind == kind)
        return used_s - self._looking_s if kind == "driver" else used_s

    def peak_private_bytes(self, kind: Kind) -> int:
        """Most memory that one process of a kind had of its own. Shared memory, as of Ray's store, is not in it."""
        return max((seen.peak_private_bytes for seen in self._seen.values() if seen.kind == kind), default=0)

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_EVERY_S):
            self.look()
        self._looking_s = time.thread_time()

    def look(self, *, first: bool = False) -> None:
        """Bring the figures up to date. It is done every quarter second and at the end anyway."""
        with self._lock:
            below = (process for process in self._root.children(recursive=True) if self._counts(process.pid))
            for process in (self._root, *below):
                self._look_at(process, first)

    def _look_at(self, process: psutil.Process, first: bool) -> None:
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
                kind = self._kind(process)
        except psutil.Error:  # it has just ended
            return
        identity = (process.pid, process.create_time())
        cpu_s = times.user + times.system
        seen = self._seen.setdefault(identity, _Seen(kind, cpu_s if first else 0.0, cpu_s, 0))
        seen.kind, seen.cpu_s = kind, cpu_s  # an idle worker is renamed when it gets work
        seen.peak_private_bytes = max(seen.peak_private_bytes, memory.rss - memory.shared)

    def _kind(self, process: psutil.Process) -> Kind:
        if process == self._root:
            return "driver"
        return "workers" if process.cmdline()[:1] and process.cmdline()[0].startswith(_WORKER) else "rest of Ray"


def descendants() -> set[int]:
    """Ids of all processes below this one."""
    return {process.pid for process in psutil.Process().children(recursive=True)}
