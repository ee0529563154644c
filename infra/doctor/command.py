"""`xprompt doctor`: what is looked at, in which order, and how it is told.

xprompt doctor derain --out data                                       this machine, for a task
xprompt doctor style --models /models --ray-address head:6379 --out s3://bucket/data
xprompt doctor --train 7b-paper                                        what the trainer needs
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from infra.doctor.asked import Asked, asked_for
from infra.doctor.finding import Check, Finding, State
from infra.doctor.limits import Undoing, Waiting, findings, start
from manifests.printing import say
from operators.vlm.client import LOCAL

_STOP_S = 5.0
"""How long a check that is interrupted has to come to its end and to take away what it made."""

STOPPED = 130


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt doctor") -> int:
    """Look at all, print a line for each thing; `prog` heads usage and errors.

    Returns the exit status: 0, 1 if something will fail, 2 with one line if it is asked wrongly, 130 if it was stopped.
    """
    try:
        asked = asked_for(sys.argv[1:] if arguments is None else arguments, prog)
    except (ValueError, ImportError, OSError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    from pipelines.run.signals import stopping_on_signals

    undoing = Undoing()
    running: list[Waiting] = []
    states: Counter[State] = Counter()
    try:
        with stopping_on_signals():
            for check in checks(asked, undoing):
                running.append(start(check))
                for found in findings(check, running[-1]):
                    states[found.state] += 1
                    say(_line(found))
        say(_summary(asked, states))
        status = int(states["fails"] > 0)
    except KeyboardInterrupt:
        for one in running[-1:]:
            one.wait(_STOP_S)
        status = STOPPED
    for what in undoing.all():
        say(f"{what} could not be removed: remove it by hand", error=True)
    if any(not one.wait(0) for one in running):
        # A thread that hangs in the kernel, or in a library, would keep the interpreter from coming to its end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def checks(asked: Asked, undoing: Undoing) -> Iterator[Check]:
    """All that is looked at for a command line, with the seconds that each may take."""
    # Ray and what stands on it take seconds to import: --help and a typo need not wait.
    from infra.doctor import cluster, gpus, machine, models, storage, trainer

    extras = _extras(asked)
    yield Check(name="Python", limit_s=10, run=machine.python)
    yield Check(name="packages", limit_s=30, run=lambda: machine.packages(extras))
    yield Check(name="memory", limit_s=10, run=machine.memory)
    yield Check(name="open files", limit_s=10, run=machine.open_files)
    yield Check(name="/dev/shm", limit_s=10, run=machine.shared_memory)
    yield Check(name="Ray's folder", limit_s=30, run=machine.ray_folder)
    yield Check(name="ports", limit_s=30, run=machine.own_address)
    if asked.task:
        yield Check(name="DATA", limit_s=120, run=lambda: models.data(asked))
        yield Check(name="MODELS", limit_s=600, run=lambda: models.here(asked))
        if asked.values["models"] == "hub" and asked.roles:
            yield Check(name="hub", limit_s=60, run=lambda: models.hub(asked))
        if asked.values["vlm"] not in (None, LOCAL):
            yield Check(name="VLM", limit_s=30, run=lambda: models.vlm(asked))
    yield Check(name="OUT", limit_s=60, run=lambda: storage.out(asked, undoing))
    yield Check(name="disk", limit_s=300, run=lambda: storage.room(asked))
    if asked.address:
        there = cluster.Cluster(asked, undoing, extras)
        yield Check(name="cluster", limit_s=cluster.CONNECT_S, run=there.connect)
        yield Check(name="nodes", limit_s=2 * cluster.ANSWER_S, run=there.machines)
        yield Check(name="OUT, nodes", limit_s=3 * cluster.ANSWER_S, run=there.out)
        yield Check(name="clocks", limit_s=2 * cluster.ANSWER_S, run=there.clocks)
        if asked.task:
            yield Check(name="GPUs", limit_s=2 * cluster.ANSWER_S, run=there.gpus)
    elif asked.task:
        yield Check(name="GPUs", limit_s=2 * gpus.LOOK_S, run=lambda: gpus.here(asked))
    if asked.train:
        yield Check(name="train: model", limit_s=10, run=lambda: trainer.needs(asked))
        yield Check(name="train: GPUs", limit_s=gpus.LOOK_S + trainer.MEASURE_S + 10, run=lambda: trainer.memory(asked))


def _extras(asked: Asked) -> list[str]:
    """The extras of our package that are needed."""
    extras = []
    if asked.task and (asked.task.runs_models(named=bool(asked.values["models"])) or asked.values["vlm"]):
        extras.append("models")
    if asked.train:
        extras.append("train")
    return extras


def _line(found: Finding) -> str:
    way_out = f": {found.way_out}" if found.way_out else ""
    return f"{found.state:<8} {found.name:<13} {found.text}{way_out}"


def _summary(asked: Asked, states: Counter[State]) -> str:
    where = f"on the cluster at {asked.address}" if asked.address else "on this machine alone (no RAY_ADDRESS)"
    told = [f"{states['ok']} ok"]
    told += [f"{count} {_WORDS[state][count > 1]}" for state, count in states.items() if count and state != "ok"]
    head = f"{asked.name} would fail" if states["fails"] else f"nothing is in the way of {asked.name}"
    return f"{head} {where}: {', '.join(told)}"


_WORDS = {
    "warning": ("warning", "warnings"),
    "fails": ("fails", "fail"),
    "skipped": ("was not looked at", "were not looked at"),
}
