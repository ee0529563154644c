"""Runs the command `xprompt` as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

ROOT = Path(__file__).parents[1]
DEADLINE_S = 240.0


def shards_command(data: Path | None, out: Path, *options: str) -> list[str]:
    data_option = ["--data", str(data)] if data else []
    return [sys.executable, "-m", "infra.command", "shards", "derain", *data_option, "--out", str(out), *options]


def run(command: list[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with Running(command, env) as running:
        return running.wait()


class Running:
    """A command in a process group of its own, of which nothing is left when the block ends."""

    def __init__(self, command: list[str], env: Mapping[str, str] | None = None, folder: Path = ROOT) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, SIGKILL)
        self.process.wait()

    def wait(self) -> subprocess.CompletedProcess[str]:
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition while the command runs; fails if it ends before."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, f"it ended before: {self.wait()}"
            assert time.monotonic() < deadline_s, "waited in vain"
            time.sleep(0.02)


def committed(out: Path, task: str = "derain") -> int:
    """How many shards of a task are committed below OUT."""
    return len(list((out / task / "manifest").glob("*.parquet")))
