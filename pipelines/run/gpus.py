"""The memory of the GPUs that a run's models must fit into."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_PROBE_GPUS = 0.01
"""Share of a GPU that a probe is given: enough to be shown it, and there beside nearly whatever runs on it."""

_PROBE_S = 60.0
"""How long nodes have to answer. One whose GPUs are all taken, by runs of others, does not."""


def memory_of(given: float | None, models: str | None) -> float | None:
    """The memory in GiB that a GPU has for a run: as `given` by GPU_GIB, else the least that is found on the cluster.

    None where anything fits: if there is no real GPU, or the models are the small random ones of MODELS=tiny, which
    count as the published ones where a memory is given.
    """
    if given is not None:
        return given
    return None if models == "tiny" else least_gib()


def least_gib() -> float | None:
    """The memory in GiB of the smallest GPU that a running Ray cluster has, None if it has none or logical ones alone.

    Each node with GPUs is asked for one of them. The GPUs of one node are taken to be alike.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    probe: Any = ray.remote(num_cpus=0, num_gpus=_PROBE_GPUS, max_retries=0)(visible_gib)
    asked = [
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes
    ]
    ready, late = ray.wait(asked, num_returns=len(asked), timeout=_PROBE_S) if asked else ([], [])
    for answer in late:
        ray.cancel(answer)
    return min((gib for answer in ready if (gib := _answered(answer)) is not None), default=None)


def visible_gib() -> float | None:
    """The memory in GiB of the first GPU that this process is shown, None if there is no real one."""
    try:
        import torch
    except ImportError:  # without the extra `models` nothing runs on a GPU
        return None
    if not torch.cuda.is_available():
        return None
    return float(torch.cuda.get_device_properties(0).total_memory) / 2**30


def _answered(answer: Any) -> float | None:
    """What a probe found, None if its node was lost meanwhile."""
    try:
        gib: float | None = ray.get(answer)
    except RayError:
        return None
    return gib
