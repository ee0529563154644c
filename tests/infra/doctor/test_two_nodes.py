"""The doctor on a real cluster, one of whose nodes is given disks of its own by the kernel (unshare(1))."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.commands import DEADLINE_S, ROOT, Running

pytestmark = pytest.mark.infra  # two nodes and two drivers: 30 s of a core


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a cluster of two nodes, and a folder that the second one sees as an empty disk of its own."""
    apart = tmp_path_factory.mktemp("apart")
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may give a process other disks")
    there = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ours = Path(sys.executable).with_name("ray")
    start = f"mount -t tmpfs none {apart} && exec {ours} start --address={there.address} --num-cpus=1 --block"
    environment = {"PYTHONPATH": str(ROOT)}
    with Running(["unshare", "-m", "sh", "-c", start], environment) as node:
        try:
            ray.init(there.address, log_to_driver=False)
            node.until(lambda: ray.cluster_resources().get("CPU", 0) == 2)
            ray.shutdown()
            yield there.address, apart
        finally:
            ray.shutdown()
            node.process.terminate()
            node.process.wait(DEADLINE_S)
            there.shutdown()


def _doctor(address: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "infra.command", "doctor", "derain", "--ray-address", address, *arguments]
    with Running(command, {"PYTHONPATH": str(ROOT)}) as running:
        done = running.wait()
    assert done.stderr == "", done
    return done.returncode, done.stdout


def test_an_out_that_both_nodes_share(cluster: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = cluster
    status, printed = _doctor(address, "--out", str(tmp_path / "out"))
    assert status == 0, printed
    for line in (f"at {address}: 2 nodes, 2 CPUs, 0 GPUs", "2 of 2: Python", "2 nodes and this machine see what each"):
        assert line in printed
    assert [*tmp_path.iterdir()] == []


def test_an_out_that_one_node_has_for_itself(cluster: tuple[str, Path]) -> None:
    address, apart = cluster
    (apart / "out").mkdir()
    status, printed = _doctor(address, "--out", str(apart), "--data", str(apart / "out"))
    assert status == 1
    assert f"fails    OUT, nodes    {apart} is not shared with " in printed
    assert f"{apart}/out is not to be seen there" in printed and "1 of 2: Python" in printed
    status, printed = _doctor(address, "--out", str(apart / "out"))
    assert status == 1 and "there is no such folder" in printed
    assert [path.name for path in apart.rglob("*")] == ["out"]
