"""What the Ray that a run works on has to give, which changes while it works: nodes come and go."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manifests.dataset import Dataset
from pipelines.run.made import made_unit
from pipelines.run.painter import Painter
from pipelines.run.plan import Job
from pipelines.run.schedule import IN_HAND

_LOOK_EVERY_S = 2.0

_LOST_AFTER_S = 30.0
"""Ray takes 12 to 15 s (measured) to notice that a node is gone; a busy head takes longer."""

_SEE_S = 60.0  # how long a node has to look for a folder

_PAINTERS_CPUS = 0.5
"""The share of the CPUs that painters are promised where there are GPUs. The rest is for units."""


class Cluster:
    """Counts nodes, CPUs and GPUs, and gives painters and tasks their part of them."""

    def __init__(self, gpus: int = 0) -> None:
        """The cluster that this process is connected to; it will come to have `gpus` GPUs, if it has fewer."""
        self._stated_gpus = gpus
        self._seen: set[str] = set()
        self._lost: set[str] = set()
        self._looked_s = 0.0
        self.cpus, self.gpus = 1, 0.0
        self.look()
        self.has_gpus = self.gpus > 0
        """Whether painters get GPUs. On a cluster that has none, and will not get one, models run on CPUs."""
        unit: Any = ray.remote(made_unit)
        self._unit = unit

    def look(self) -> None:
        """See again what there is, if that was some time ago."""
        if time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        resources = ray.cluster_resources()
        self.cpus = max(1, int(resources.get("CPU", 1)))
        self.gpus = max(resources.get("GPU", 0.0), float(self._stated_gpus))

    def refuse_unshared(self, jobs: Sequence[Job]) -> None:
        """Look from every node for the datasets' plans. Raises ValueError, one line, for a node that cannot see one.

        Folders must be on a disk that all nodes share, or in a bucket.
        """
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        outs = [job.out for job in jobs if job.dataset.store.is_local]
        if len(nodes) < 2 or not outs:
            return
        seen: Any = ray.remote(_unseen)
        there = [NodeAffinitySchedulingStrategy(node, soft=True) for node in nodes]
        asked = [seen.options(num_cpus=0, scheduling_strategy=node, max_retries=0).remote(outs) for node in there]
        answered, _ = ray.wait(asked, num_returns=len(asked), timeout=_SEE_S)  # one that is being lost does not answer
        unseen = []
        for answer in answered:
            with suppress(RayError):
                unseen.append(ray.get(answer))
        for host, out in (one for one in unseen if one):
            raise ValueError(
                f"{out} cannot be seen from {host}: on a cluster OUT, DATA and MODELS have to be on a disk that all "
                "nodes share, or in a bucket"
            )

    @property
    def lost_after_s(self) -> float:
        """How long it takes until a node that is lost is known to be; none where there is only this one."""
        self.lost_nodes()
        return _LOST_AFTER_S if len(self._seen) > 1 else 0.0

    def lost_nodes(self) -> Collection[str]:
        """The ids of nodes that were there and are not any more."""
        for node in ray.nodes():
            (self._seen if node["Alive"] else self._lost).add(node["NodeID"])
        return self._lost

    @property
    def painters(self) -> int:
        """How many painters may have no GPU: all CPUs where models run on them, else those that painters leave."""
        return self.cpus if not self.has_gpus else max(1, self.cpus // 2)

    def share(self, gpus: float) -> float:
        """Of the share of a GPU that a stage needs, what a painter of it gets: nothing where there is no GPU."""
        return gpus if self.has_gpus else 0.0

    def painter(self, gpus: float) -> Any:
        """Start a painter with a share of a GPU, or with a CPU for 0. Its process lives until it is killed or dies."""
        cpus = min(1.0, _PAINTERS_CPUS * self.cpus / self.gpus) * gpus if gpus else 1.0
        actor: Any = ray.remote(Painter)
        # One more thread than groups, for the first call. It is not restarted by Ray: what comes in its place may need
        # other models.
        return actor.options(num_gpus=gpus, num_cpus=cpus, max_concurrency=IN_HAND + 1, max_restarts=0).remote()

    def unit(self, assembled: bool) -> Any:
        """The task that makes a unit. Where painters hold all CPUs, one that assembles painted pairs needs none."""
        return self._unit.options(num_cpus=0 if assembled and not self.has_gpus else 1, max_retries=0)


def _unseen(outs: Sequence[str]) -> tuple[str, str] | None:
    """The name of this node and the first of some datasets whose plan it cannot see, if there is one."""
    missing = (out for out in outs if not Dataset(out).store.exists("plan.parquet"))
    return next(((socket.gethostname(), out) for out in missing), None)
