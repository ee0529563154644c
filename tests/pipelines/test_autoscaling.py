"""A cluster without a single GPU whose autoscaler adds nodes that have one, when painters ask for it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ray._private import services

from infra.bench.paint_log import read_log
from infra.slurm.ports import free_port
from tests.commands import ROOT, run
from tests.datasets import make_dataset, sha256_by_file
from tests.pipelines.painted import painted_task
from tests.sources import write_photos

GPU_NODES = 2
_UP_S = 120.0


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a head listens that has two CPUs and Ray's own fake provider, which starts nodes on this machine."""
    folder = tmp_path_factory.mktemp("r")
    port = free_port()
    host = services.get_node_ip_address()
    nothing: list[str] = []
    config = {
        "cluster_name": "fake",
        "max_workers": GPU_NODES,
        "provider": {"type": "fake_multinode", "gcs_address": f"{host}:{port}"},
        "upscaling_speed": 10.0,
        "idle_timeout_minutes": 5,
        "available_node_types": {
            "head": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": GPU_NODES},
        },
        "head_node_type": "head",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **dict.fromkeys(
            (
                "cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands",
                "head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands",
            ),
            nothing,
        ),
    }  # fmt: skip
    file = folder / "autoscaler.json"
    file.write_text(json.dumps(config))
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=2", "--num-gpus=0", "--include-dashboard=false", "--object-store-memory=134217728"]
    command += [f"--temp-dir={folder}/t", f"--autoscaling-config={file}"]
    environment = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    environment |= {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    with open(folder / "log", "wb") as log:
        head = subprocess.Popen(
            command, env={**os.environ, **environment}, start_new_session=True, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        ends_s = time.monotonic() + _UP_S
        while True:
            with suppress(OSError):
                socket.create_connection((host, port), timeout=2).close()
                break
            assert head.poll() is None and time.monotonic() < ends_s, (folder / "log").read_text()
            time.sleep(0.5)
        time.sleep(5)  # until the autoscaler is there as well
        yield f"{host}:{port}"
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            head.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_painters_get_the_gpus_of_nodes_that_come(address: str, tmp_path: Path) -> None:
    data, log = write_photos(tmp_path / "photos", 16), str(tmp_path / "log")
    command = [sys.executable, "-m", "infra.command", "shards", "tests.pipelines.painted:TASK"]
    command += ["--data", str(data), "--out", str(tmp_path / "out"), "--gpus", str(GPU_NODES)]
    done = run(command, {"RAY_ADDRESS": address, "PAINT_LOG": log, "RAY_AUTH_MODE": "disabled"})
    assert done.returncode == 0, done
    painted = read_log(log)
    assert painted and all(not one.gpu.endswith(f"process-{one.pid}") for one in painted)  # each had a GPU
    make_dataset(tmp_path / "here", data, task=painted_task(f"{log}.here"))
    assert sha256_by_file(tmp_path / "out") == sha256_by_file(tmp_path / "here")
