"""A task of a file, from a folder outside of the clone, on a cluster of two nodes whose workers never saw the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from infra.examples.dehaze import DEHAZE
from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from tests.commands import ROOT, Running
from tests.datasets import examples, make_dataset
from tests.sources import write_photos


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a cluster of two nodes, of a CPU each, listens."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def test_a_users_file_travels_to_the_workers(address: str, tmp_path: Path) -> None:
    """Running(...) starts the command as a user does; the file is in a folder that no worker has on its path."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "haze_on_cluster.py").write_text((ROOT / "infra/examples/dehaze.py").read_text())
    photos = write_photos(tmp_path / "photos", 40)
    environment = {"RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        with Running([sys.executable, "-m", "infra.command", *arguments], environment, outside) as running:
            return running.wait()

    name = "haze_on_cluster.py:DEHAZE"
    made = run("shards", name, "--data", str(photos), "--out", str(tmp_path / "out"), "--strength", "2")
    assert (made.returncode, made.stderr) == (0, ""), made
    assert [finding.message for finding in verify(str(tmp_path / "out"))] == []
    planned = run("plan", name, "--data", str(photos), "--strength", "2")
    assert planned.returncode == 0 and "about 40" in planned.stdout
    assert run("verify", str(tmp_path / "out")).returncode == 0
    here = make_dataset(tmp_path / "here", photos, task=DEHAZE.with_options({"strength": 2.0}))
    assert examples(Dataset(str(tmp_path / "out/dehaze"))) == examples(here)
