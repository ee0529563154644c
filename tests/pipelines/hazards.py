"""Operators that go wrong at a chosen pair, and let it rain on the others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import ClassVar

from manifests.schema import Pair
from operators.degrade.rain import Rain


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
