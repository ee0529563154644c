from __future__ import annotations

import subprocess
import sys

import pytest

from pipelines.run import gpus
from pipelines.run.gpus import least_gib, memory_of
from tests.commands import ROOT

_CLUSTER = """
import ray
from ray.cluster_utils import Cluster
from pipelines.run import gpus

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
large, small = (cluster.add_node(num_cpus=1, num_gpus=2).node_id for _ in range(2))
sizes = {cluster.head_node.node_id: None, large: 79.1, small: 39.4}
ray.init(cluster.address, log_to_driver=False)
logical = gpus.least_gib()
gpus.visible_gib = lambda: sizes[ray.get_runtime_context().get_node_id()]
print("found", logical, gpus.least_gib())
ray.shutdown()
cluster.shutdown()
"""


without_real_gpus = pytest.mark.skipif(gpus.visible_gib() is not None, reason="GPUs are to be logical here, or none")


@without_real_gpus
def test_the_smallest_gpu_of_a_cluster_is_found_and_logical_ones_have_no_memory() -> None:
    """The driver runs in a process of its own: this one may have a Ray of the session's."""
    done = subprocess.run(
        [sys.executable, "-c", _CLUSTER], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert "found None 39.4" in done.stdout, done


@without_real_gpus
@pytest.mark.usefixtures("local_ray")
def test_without_gpus_nothing_is_found() -> None:
    assert least_gib() is None


def test_what_is_given_comes_before_what_is_found_and_tiny_models_fit_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "least_gib", lambda: 79.1)
    assert memory_of(None, "hub") == 79.1
    assert memory_of(24.0, "hub") == 24.0
    assert memory_of(24.0, "tiny") == 24.0  # to try what a run on such a card would do
    assert memory_of(None, "tiny") is None
