"""A Ray of its own with GPUs that are numbers alone, on one node or more, and what kills parts of it meanwhile."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from infra.bench.paint_log import read_log

_LOOK_EVERY_S = 0.25


@contextmanager
def logical_gpus(gpus: int, cpus: int, nodes: int = 1) -> Iterator[list[Any]]:
    """Within the block this process drives a Ray whose nodes share so many GPUs and CPUs; what can be killed of it is
    yielded: its nodes but the first, which is the driver's. A CPU is a number too.
    """
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    logging.getLogger("ray").setLevel(logging.ERROR)
    each = {"num_cpus": cpus // nodes, "num_gpus": gpus // nodes, "object_store_memory": 128 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**each, "include_dashboard": False})
    try:
        others = [cluster.add_node(**each) for _ in range(nodes - 1)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield [(cluster, node) for node in others]
        finally:
            ray.shutdown()
    finally:
        cluster.shutdown()


@dataclass
class Meddler:
    """Something that happens beside a run until it ends: `with Meddler(step): ...` calls `step` again and again."""

    step: Callable[[], None]
    every_s: float = _LOOK_EVERY_S
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._meddle, daemon=True)

    def __enter__(self) -> Meddler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _meddle(self) -> None:
        while not self._ended.wait(self.every_s):
            self.step()


@dataclass
class PainterKills:
    """Each call kills one painter that has a picture in hand, at random, by signal 9."""

    log: str
    chance: random.Random
    kills: int = 0

    def __call__(self) -> None:
        busy = {one.pid for one in read_log(self.log) if one.ended_s is None and Path(f"/proc/{one.pid}").exists()}
        if busy:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(sorted(busy)), signal.SIGKILL)
                self.kills += 1


@dataclass
class NodeKill:
    """Kills a node, by signal 9 to all that is of it, as soon as pictures of `after_s` seconds have been painted."""

    log: str
    after_s: float
    node: tuple[Any, Any]
    """A cluster of ray.cluster_utils, and the node of it."""
    at_s: float | None = None
    """When; None until then."""
    done_s: float = 0.0
    """Seconds of the pictures that had been painted by then."""

    def __call__(self) -> None:
        if self.at_s is not None:
            return
        done_s = sum(one.seconds for one in read_log(self.log))
        if done_s >= self.after_s:
            cluster, node = self.node
            self.at_s, self.done_s = time.monotonic(), done_s
            cluster.remove_node(node, allow_graceful=False)
