"""One node of a job's Ray cluster: `ray start` in the foreground, with what is to be kept apart from other jobs' Rays.

    srun python -m infra.slurm.node 10.0.0.1:23456   # on the other nodes: joins the head, until it is told to end

`ray start` alone would take all CPUs of the machine, a fixed port of it (a second job's node could not start its agent)
and the folder /tmp/ray, which belongs to whoever came first. `ray stop` would end all Rays of the user on the machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from infra.slurm.ports import free_port

START_ATTEMPTS = 5
"""How often a node is started: a port may be taken just before Ray takes it, and Ray allows its processes 30 s, which a
busy machine, or a file system that has to be read for the first time, may exceed."""

OBJECT_STORE_BYTES = 2**30
"""A node's store of objects in /dev/shm. The engine's objects are small; Ray's default, 30% of the machine's memory,
may be more than the job has."""

_END_S = 5.0


class Node:
    """Ray's processes on this machine, from the beginning of a block to its end."""

    def __init__(self, head: str | None, environment: Mapping[str, str], log: IO[bytes] | None = None) -> None:
        """Join the cluster whose head is at `head`, or be a head, at `address`.

        `environment` is a process's of the job; `log` gets what Ray prints.
        """
        self.address = head or f"{_own_ip()}:{free_port()}"
        self._head = head is None
        self._environment = environment
        self._log = log

    def __enter__(self) -> Node:
        # Ray's sockets need a short path.
        self._folder = tempfile.mkdtemp(prefix=f"xp-{self._environment['SLURM_JOB_ID']}-", dir=_temporary())
        self.process = subprocess.Popen(
            self.command(),
            env={**self._environment, **_QUIET},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ray's reaper ends its process group, which must not be ours
        )
        return self

    def command(self) -> list[str]:
        """The command that starts Ray here."""
        ip, _, port = self.address.rpartition(":")
        place = (
            ["--head", f"--node-ip-address={ip}", f"--port={port}", f"--ray-client-server-port={free_port()}",
             "--include-dashboard=false"]
            if self._head
            else [f"--address={self.address}"]
        )  # fmt: skip
        return [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *place),
            f"--num-cpus={self._environment['SLURM_CPUS_ON_NODE']}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            f"--temp-dir={self._folder}",
            "--include-log-monitor=false",  # the engine shows what workers print by itself
            # Where Ray itself chooses these, a node gives up if its agents do not say in time what they were given.
            *(f"--{server}-port={free_port()}" for server in _AGENTS),
            *("--min-worker-port=0", "--max-worker-port=0"),  # whichever are free
        ]

    @property
    def is_up(self) -> bool:
        """Whether Ray runs here: `ray start` then writes down the cluster's address."""
        return Path(self._folder, "ray_current_cluster").is_file()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


_AGENTS = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export")
"""Servers of a node, by `ray start`'s options. The first has a fixed port by default."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_events_report_interval_ms": "0"}
"""No statistics for Ray's makers, and no record of each task for a dashboard that is not there."""


def _own_ip() -> str:
    import ray.util  # takes a second or two

    ip: str = ray.util.get_node_ip_address()
    return ip


def _temporary() -> Path:
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Be a node of the cluster at an address.

    The exit status is 0 after SIGTERM or SIGUSR1, else that of a Ray which does not stay up.
    """
    (head,) = sys.argv[1:] if arguments is None else arguments

    def leave(number: int, frame: object) -> None:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, leave)
    status = 0
    for _ in range(START_ATTEMPTS):
        with Node(head, os.environ) as node:
            status = node.process.wait()
    return status


if __name__ == "__main__":
    sys.exit(main())
