"""What painters themselves say of their work: a line when one begins a picture, a line when it has ended it.

Lines of all processes go to the end of one file, each in one write, so that a process that is killed loses none; a
picture that was begun and not ended was in hand then. Times are of the machine's monotonic clock, which its processes
share.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Painting:
    """One picture, or whatever else keeps a GPU busy, begun by one process."""

    pid: int
    gpu: str
    """Node and number of the GPU."""
    operator: str
    what: str
    """The pair's key and the picture's name."""
    began_s: float
    ended_s: float | None = None
    """None if it was never ended, or is not yet."""

    @property
    def seconds(self) -> float:
        return self.ended_s - self.began_s if self.ended_s else 0.0


@contextmanager
def painting(log: str, operator: str, what: str) -> Iterator[None]:
    """Within the block this process has its GPU to itself, as a network that fills it would, and the log says so.

    The GPU is a lock on a file, which the kernel gives back when its holder is killed: threads and processes that share
    a GPU take turns.
    """
    gpu = _gpu()
    holder = os.open(f"{log}.{gpu.replace('/', '-')}", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        _write(log, "begin", gpu, operator, what)
        yield
        _write(log, "end", gpu, operator, what)
    finally:
        os.close(holder)


def read_log(log: str) -> list[Painting]:
    """All that was begun, in that order; empty if nothing was."""
    begun: dict[tuple[str, ...], Painting] = {}
    paintings: list[Painting] = []
    for line in _lines(log):
        event, pid, gpu, operator, what, time_s = line
        same = (pid, operator, what)
        if event == "begin":
            begun[same] = Painting(pid=int(pid), gpu=gpu, operator=operator, what=what, began_s=float(time_s))
        else:
            paintings.append(replace(begun.pop(same), ended_s=float(time_s)))
    return sorted((*paintings, *begun.values()), key=lambda one: one.began_s)


def busy_share(paintings: Sequence[Painting], gpus: int, start_s: float, end_s: float) -> float:
    """Share of the GPUs' time between two moments that went into pictures which were ended.

    What was in hand of a painter that was killed counts as idle.
    """
    ended = [(one.began_s, one.ended_s) for one in paintings if one.ended_s]
    busy_s = sum(max(0.0, min(ended_s, end_s) - max(began_s, start_s)) for began_s, ended_s in ended)
    return busy_s / (gpus * (end_s - start_s))


def steady(paintings: Sequence[Painting], gpus: int) -> tuple[float, float] | None:
    """From when all GPUs had begun to when the first of them had ended its last picture: a moment and a later one.

    None if some GPU never got work, or if there is no such time.
    """
    by_gpu: dict[str, list[Painting]] = {}
    for one in paintings:
        by_gpu.setdefault(one.gpu, []).append(one)
    if len(by_gpu) < gpus:
        return None
    start_s = max(min(one.began_s for one in own) for own in by_gpu.values())
    end_s = min(max(one.ended_s or one.began_s for one in own) for own in by_gpu.values())
    return (start_s, end_s) if start_s < end_s else None


@dataclass(frozen=True, kw_only=True)
class Waste:
    """Pictures that were begun more often than was needed."""

    in_hand: int
    """Begun and never ended: what painters had in hand when they were killed."""
    again: int
    """Ended before, and painted again."""


def waste(paintings: Sequence[Painting]) -> Waste:
    """What was lost and painted again, once a run has ended."""
    ended = Counter((one.operator, one.what) for one in paintings if one.ended_s)
    return Waste(
        in_hand=sum(one.ended_s is None for one in paintings), again=sum(times - 1 for times in ended.values())
    )


def _gpu() -> str:
    """The node's and the GPU's number as Ray tells its workers; a process without a GPU counts as one of its own."""
    number = os.environ.get("CUDA_VISIBLE_DEVICES") or f"process-{os.getpid()}"
    return f"{os.environ.get('RAY_RAYLET_PID', 'here')}/{number}"


def _write(log: str, event: str, gpu: str, operator: str, what: str) -> None:
    line = f"{event} {os.getpid()} {gpu} {operator} {what} {time.monotonic():.6f}\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _lines(log: str) -> Iterator[list[str]]:
    with suppress(FileNotFoundError):
        yield from (line.split() for line in Path(log).read_text().splitlines(keepends=True) if line.endswith("\n"))
