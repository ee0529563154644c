"""Runs a command on a Ray cluster over all nodes of a job; the cluster ends when the command does.

    python -m infra.slurm.engine xprompt shards derain --data /shared/photos --out /shared/xprompt

engine.sbatch runs it on the first node of the job, which becomes Ray's head. The others join it by `srun`, those of all
components of a heterogeneous job. Exit status: the command's, as a shell says it; 1 if there is no cluster to run it
on, 2 for what cannot be done as asked, 130 if a signal came before the command was started. Signals:

    SIGUSR1   comes to this process alone, before the job's time is over (--signal=B:USR1): the command is stopped as by
              Ctrl-C, and the job is requeued
    SIGTERM   comes to all processes of the job, the command among them (scancel, preemption): Slurm ends the job, or
              requeues it, by itself
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from infra.slurm.node import START_ATTEMPTS, Node
from infra.slurm.vlm import refuse_other, serving, split_gpus
from manifests.printing import say

STOPPED = 130

_JOIN_S = 300.0
"""How long the other nodes may take to join: a hundred of them that import Ray from one file system take minutes."""

_LOOK_EVERY_S = 0.5
_END_S = 20.0


class Stopped(Exception):
    """A signal came while there was no command to stop."""


def main(arguments: Sequence[str] | None = None) -> int:
    command = list(sys.argv[1:] if arguments is None else arguments)
    environment = dict(os.environ)
    signals = Signals()
    try:
        status = _run(command, environment, signals)
    except Stopped:
        status = STOPPED
    except ValueError as error:
        say(f"engine.sbatch: {error}", error=True)
        return 2
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"engine.sbatch: {error}; {_log_name(environment)} says more", error=True)
        return 1
    if signals.first == signal.SIGUSR1 and status:
        say("The job's time is nearly over: it is requeued, and the same command goes on.")
        subprocess.run(["scontrol", "requeue", environment["SLURM_JOB_ID"]], check=False)
    return status


def _run(command: Sequence[str], environment: dict[str, str], signals: Signals) -> int:
    """Run a command on a cluster that is there for it; its exit status.

    Raises ValueError for what cannot be done as asked, OSError if there is no cluster, Stopped.
    """
    served = int(environment.get("XPROMPT_VLM_GPUS", "0"))
    if served:
        refuse_other(command)
        gpus, rest = split_gpus(environment.get("CUDA_VISIBLE_DEVICES"), served)
        environment |= {"CUDA_VISIBLE_DEVICES": rest, "OPENAI_API_KEY": secrets.token_hex(32)}
    # Whoever can reach a Ray can run anything as its owner: this one answers those who have the job's token.
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ |= environment  # for our own connection to it
    with ExitStack() as stack:
        log = stack.enter_context(open(_log_name(environment), "ab"))
        signals.listen()
        address = stack.enter_context(_head(environment, log))
        stack.enter_context(_other_nodes(address, environment))
        options: list[str] = []
        if served:
            say("Starting the vision-language model's server ...")
            repository = Path(environment["XPROMPT_REPO"])
            options = stack.enter_context(serving(repository, gpus, environment, log)).options
        _wait_for_nodes(address, sum(nodes(environment)))
        return signals.status([*command, *options], environment | {"RAY_ADDRESS": address})


class Signals:
    """What becomes of the job's signals."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The first signal that came: later ones change nothing."""
        self._command: subprocess.Popen[bytes] | None = None

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._hear)

    def status(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command to its end; its exit status, as a shell says it. Raises OSError if it cannot be started."""
        with subprocess.Popen(command, env=environment) as self._command:
            status = self._command.wait()
        return status if status >= 0 else 128 - status

    def _hear(self, number: int, frame: object) -> None:
        if self.first is not None:
            return
        self.first = number
        if self._command is None:
            raise Stopped
        if number == signal.SIGUSR1:
            self._command.send_signal(signal.SIGTERM)


def nodes(environment: Mapping[str, str]) -> list[int]:
    """How many nodes each component of the job has: one component, unless the job is heterogeneous."""
    if "SLURM_HET_SIZE" not in environment:
        return [int(environment["SLURM_JOB_NUM_NODES"])]
    components = range(int(environment["SLURM_HET_SIZE"]))
    return [int(environment[f"SLURM_JOB_NUM_NODES_HET_GROUP_{component}"]) for component in components]


def joining(address: str, environment: Mapping[str, str]) -> list[list[str]]:
    """The commands that start Ray on all nodes of the job but the first, one for each component that has such nodes."""
    commands = []
    for component, count in enumerate(nodes(environment)):
        others = count - (component == 0)
        if not others:
            continue
        where = [f"--nodes={others}", f"--ntasks={others}", "--ntasks-per-node=1"]
        if component == 0:
            where.append("--relative=1")  # the first node is the head
        if "SLURM_HET_SIZE" in environment:
            where.append(f"--het-group={component}")
        # A node that is lost, or whose Ray is, does not end the others.
        stays = ["--no-kill", "--kill-on-bad-exit=0", "--wait=0"]
        log = ["--output=%x-%j-%N.log", "--open-mode=append"]
        commands.append(["srun", *where, *stays, *log, sys.executable, "-m", "infra.slurm.node", address])
    return commands


@contextmanager
def _head(environment: Mapping[str, str], log: IO[bytes]) -> Iterator[str]:
    """The head's address, once Ray is up there. Raises ConnectionError if it does not start."""
    for left in reversed(range(START_ATTEMPTS)):
        with Node(None, environment, log) as head:
            while not head.is_up and head.process.poll() is None:
                time.sleep(_LOOK_EVERY_S)
            if head.is_up:
                yield head.address
                return
            if not left:
                raise ConnectionError("Ray's head does not start")


@contextmanager
def _other_nodes(address: str, environment: Mapping[str, str]) -> Iterator[None]:
    steps = [subprocess.Popen(command, env=environment) for command in joining(address, environment)]
    try:
        yield
    finally:
        for step in steps:
            step.send_signal(signal.SIGUSR1)  # srun hands it on; at SIGTERM it would kill the step at once
        for step in steps:
            with suppress(subprocess.TimeoutExpired):  # Slurm ends what is left, with the job
                step.wait(_END_S)


def _wait_for_nodes(address: str, wanted: int) -> None:
    """Wait until the cluster has all nodes of the job: the engine decides by what is there whether models have GPUs.

    After _JOIN_S the run goes on with those that are there, and says so: others may still join.
    """
    if wanted == 1:
        return
    wait = [sys.executable, "-m", "infra.slurm.joined", address, str(wanted), str(_JOIN_S)]
    there = int(subprocess.run(wait, check=True, capture_output=True, text=True).stdout)
    missing = f": the others have not joined within {_JOIN_S:.0f} s" if there < wanted else ""
    say(f"Ray runs on {there} of {wanted} nodes{missing}")


def _log_name(environment: Mapping[str, str]) -> str:
    """The log of the first node's Ray and server, named as srun names those of the others."""
    return "-".join(environment[name] for name in ("SLURM_JOB_NAME", "SLURM_JOB_ID", "SLURMD_NODENAME")) + ".log"


if __name__ == "__main__":
    sys.exit(main())
