"""Notices that nothing comes back from workers any more, says so, and ends those that are stopped.

Within a worker hanging.py ends what takes too long. A process that is stopped, by a signal or a debugger that was left,
looks at no clock: it is found from outside, by a task on its node, and killed. What it had in hand is done again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGKILL
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

STALLED_S = 60.0
"""How long nothing comes back until it is said, and until stopped processes are looked for."""

_SAY_AGAIN_S = 600.0
_LOOK_EVERY_S = 30.0
_STOPPED_S = 3.0  # for which a process has to be stopped: one that is only held up for a moment goes on
_OURS = ("ray::made_unit", "ray::Painter", "ray::_Asking", "ray::_tokenize")
"""How Ray names the processes that work for a run."""


class Stall:
    """Whether a run has heard anything of its workers of late."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Something has been heard just now; `say` is told of a stall, one line."""
        self._say = say
        self._clock = clock
        self._heard_s = self._said_s = self._looked_s = clock()

    def heard(self) -> None:
        """Something has come back."""
        self._heard_s = self._said_s = self._looked_s = self._clock()

    def is_due(self, at_work: Callable[[], str]) -> bool:
        """Whether to look for stopped processes now. At first, and from time to time, it is said what is at work."""
        now_s = self._clock()
        if now_s - self._heard_s < STALLED_S:
            return False
        if self._said_s == self._heard_s or now_s - self._said_s >= _SAY_AGAIN_S:
            self._said_s = now_s
            self._say(
                f"nothing has come back for {round((now_s - self._heard_s) / 60)} min; at work: "
                f"{at_work() or 'nothing'}. Workers that hang or are stopped are ended, and their work is done again"
            )
        if self._looked_s != self._heard_s and now_s - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        return True


def look() -> list[Any]:
    """Have stopped processes ended on all nodes. Returns references of what `end_stopped` will say."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    ended: Any = ray.remote(num_cpus=0, max_retries=0)(end_stopped)
    return [
        ended.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes
    ]


def end_stopped() -> list[str]:
    """Kill those of our processes on this node that are stopped, and stay so for a moment; each in words.

    It runs in a worker: the others of the node have the same parent.
    """
    before = _stopped(os.getppid())
    time.sleep(_STOPPED_S if before else 0.0)
    ended = []
    for pid in sorted(before & _stopped(os.getppid())):
        os.kill(pid, SIGKILL)
        ended.append(f"process {pid} on {socket.gethostname()} was stopped, and is ended")
    return ended


def _stopped(parent: int) -> set[int]:
    """The processes of ours that are stopped, among the children of one. Empty where there is no /proc."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # After the name, which is in brackets and may hold anything: the state, then the parent.
            state, of = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "T" and int(of) == parent and (folder / "cmdline").read_text().startswith(_OURS):
                found.add(int(folder.name))
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    return found


def named(units: Sequence[str]) -> str:
    """The first few of some units, in words."""
    return ", ".join(units[:3]) + (f" and {len(units) - 3:,} more" if len(units) > 3 else "")
