"""Operators that go wrong at a chosen pair, and let it rain on the others, or stand for a model that paints them."""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGKILL
from typing import ClassVar, Self

import numpy as np

from infra.bench.paint_log import painting, read_log
from manifests.images.pixels import encode_lossless
from manifests.schema import Direction, Kind, Pair, Reject, Step
from operators.base import StopRun
from operators.degrade.rain import Rain
from pipelines.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class KillsWorker:
    """Ends its own process at the pairs `refs`, as a crash in native code does, and notes each death in a folder."""

    name: ClassVar[str] = "kills_worker"
    version: ClassVar[int] = 1
    refs: tuple[str, ...]
    deaths: str

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref in self.refs:
            with open(Path(self.deaths) / pair.source_ref, "a") as file:
                file.write("x")
            os.kill(os.getpid(), SIGKILL)
        return Rain()(pair, seed)


@dataclass(frozen=True, kw_only=True)
class Raises:
    """Raises an exception that is no Reject at the pair `ref`."""

    name: ClassVar[str] = "raises"
    version: ClassVar[int] = 1
    ref: str

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref == self.ref:
            raise ZeroDivisionError("no rain today")
        return Rain()(pair, seed)


@dataclass(frozen=True, kw_only=True)
class DiskIsFull:
    """Raises what a full disk raises at the pair `ref`, as long as the file `full` exists."""

    name: ClassVar[str] = "disk_is_full"
    version: ClassVar[int] = 1
    ref: str
    full: str

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref == self.ref and os.path.exists(self.full):
            raise OSError(28, "No space left on device")
        return Rain()(pair, seed)


@dataclass(frozen=True, kw_only=True)
class Hangs:
    """Never comes to an end at the pair `ref`, and says how long a pair may take."""

    name: ClassVar[str] = "hangs"
    version: ClassVar[int] = 1
    timeout_s: ClassVar[float] = 4.0
    ref: str

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref == self.ref:
            time.sleep(3_600)
        return Rain()(pair, seed)


@dataclass(frozen=True, kw_only=True)
class Waits:
    """Waits at all pairs but those of `refs`, until the file `go` exists, and notes its process in `waiting`."""

    name: ClassVar[str] = "waits"
    version: ClassVar[int] = 1
    refs: tuple[str, ...]
    go: str
    waiting: str

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref not in self.refs:
            (Path(self.waiting) / str(os.getpid())).touch()
            while not os.path.exists(self.go):
                time.sleep(0.05)
        return Rain()(pair, seed)


class DiesAtTheEnd(Task):
    """A task whose worker dies when all pairs of a unit are made, so that none of them is to blame."""

    def missing(self, pair: Pair) -> list[tuple[Direction, Kind]]:
        os.kill(os.getpid(), SIGKILL)
        return []


@dataclass(frozen=True, kw_only=True)
class Paints:
    """Stands for a model: paints a picture of one colour, drawn from the seed, and notes that in a log.

    What goes wrong, at the pairs that are named, is no part of the fingerprint.
    """

    name: ClassVar[str] = "paints"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 1.0
    role: str = "target"
    gpu_s: float = field(default=60.0, metadata={"location": True})
    """Assumed; above 4 s pairs are handed out one by one, and above 60 s a unit not as a whole."""
    timeout_s: float = field(default=600.0, metadata={"location": True})
    log: str = field(default="", metadata={"location": True})
    picture_s: float = field(default=0.0, metadata={"location": True})
    kills: tuple[str, ...] = field(default=(), metadata={"location": True})
    hangs: tuple[str, ...] = field(default=(), metadata={"location": True})
    holds: tuple[str, ...] = field(default=(), metadata={"location": True})
    """Where it hangs in native code that does not let go of the interpreter."""
    stops: tuple[str, ...] = field(default=(), metadata={"location": True})
    rejects: tuple[str, ...] = field(default=(), metadata={"location": True})
    fails: tuple[str, ...] = field(default=(), metadata={"location": True})
    """Where it raises what a full disk raises, as long as the file `full` exists."""
    full: str = field(default="", metadata={"location": True})
    bugs: tuple[str, ...] = field(default=(), metadata={"location": True})
    """Where it raises what no operator should."""
    together: int = field(default=1, metadata={"location": True})
    """How many processes must have begun to paint before any of them ends its first picture."""

    def bound(self, models: str | None) -> Self:
        return self

    def __call__(self, pair: Pair, seed: int) -> Pair:
        ref = pair.source_ref
        with painting(self.log, self.name, ref):
            if ref in self.kills:
                os.kill(os.getpid(), SIGKILL)
            if ref in self.hangs:
                time.sleep(3_600)
            if ref in self.holds:
                ctypes.PyDLL(None).sleep(3_600)
            if ref in self.stops:
                raise StopRun("the key is refused")
            if ref in self.fails and os.path.exists(self.full):
                raise OSError(28, "No space left on device")
            if ref in self.bugs:
                raise TypeError("a number was expected")
            if ref in self.rejects:
                raise Reject("ugly", "not this one", {"beauty": 0.25})
            time.sleep(self.picture_s)
            self._wait_for_others()
        pixels = np.full((8, 8, 3), [seed % 256, seed // 256 % 256, len(self.role)], np.uint8)
        step = Step(operator=self.name, version=self.version, seed=seed, params={"role": self.role})
        return replace(pair, images=(*pair.images, encode_lossless(self.role, pixels)), steps=(*pair.steps, step))

    def _wait_for_others(self) -> None:
        ends_s = time.monotonic() + 240
        while len({one.pid for one in read_log(self.log)}) < self.together:
            assert time.monotonic() < ends_s, "waited in vain for other painters"
            time.sleep(0.05)


class PaintsAgain(Paints):
    """The second model of a task."""

    name: ClassVar[str] = "paints_again"
