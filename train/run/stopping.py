"""When a run is to leave early: a signal, or its hours are over.

SIGTERM, SIGINT and SIGUSR1 (torchrun's, a terminal's, Slurm's --signal) may reach one rank, all of them, or only the
launcher. The ranks agree before each step, by one small collective, so that all leave at the same step and their
checkpoint is whole. A second signal ends a rank at once, also one that hangs in a collective: a thread hears of
signals, since Python's own handlers wait until C++ code returns.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType

import torch
import torch.distributed as dist

STOPPED = 75
"""Exit status of a run that was asked to stop and saved: sysexits.h's EX_TEMPFAIL, "try again later"."""

LAUNCHED = "XPROMPT_LAUNCHED"
"""Environment variable by which `train/launch.py` names the folder that it shares with its ranks."""

STOP_FILE = "stop"
"""In that folder: written when the launcher was asked to stop."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_ONE_S = 1.0
"""Signals within a second are one: a launcher passes on what a terminal or Slurm sent to all processes."""


class Stop:
    """Listens while it is entered. `asked` says why the run is to stop; all ranks call it, before each step."""

    def __init__(self, max_hours: float) -> None:
        """`max_hours` counts from now; 0 is without end."""
        self._end_s = time.monotonic() + max_hours * 3_600 if max_hours else float("inf")
        self._max_hours = max_hours
        self._signal = 0
        self._since_s = float("inf")
        folder = os.environ.get(LAUNCHED)
        self._file = Path(folder) / STOP_FILE if folder else None

    def __enter__(self) -> Stop:
        # Only a main thread may set handlers; whoever trains in another one handles signals himself.
        self._listens = threading.current_thread() is threading.main_thread()
        if self._listens:
            heard, self._pipe = os.pipe()
            os.set_blocking(self._pipe, False)
            self._wakeup = signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, _go_on) for number in SIGNALS}
            threading.Thread(target=self._listen, args=(heard,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listens:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._pipe)

    def asked(self) -> str | None:
        """Why all ranks are to stop now, None if they are not: the same on all of them."""
        number = self._signal
        if not number and self._file and self._file.exists():
            number = int(self._file.read_text() or signal.SIGTERM)
        said = torch.tensor([number, time.monotonic() >= self._end_s], dtype=torch.int64)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        number, is_over = said.tolist()
        if number:
            return signal.Signals(number).name
        return f"--max-hours {self._max_hours:g}" if is_over else None

    def _listen(self, heard: int) -> None:
        """Runs in a thread of its own, until the pipe's other end is closed."""
        with os.fdopen(heard, "rb", buffering=0) as pipe:
            while received := pipe.read(1):
                self._hear(received[0])

    def _hear(self, number: int) -> None:
        if number not in SIGNALS:
            return
        now_s = time.time()
        if self._file and self._file.exists():
            self._since_s = min(self._since_s, self._file.stat().st_mtime)
        if now_s - self._since_s > _ONE_S:
            os._exit(128 + number)
        self._signal, self._since_s = number, min(self._since_s, now_s)


def _go_on(number: int, frame: FrameType | None) -> None:
    """Python's own handler: the thread has heard of it already."""
