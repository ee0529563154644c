"""The steps of the target `cpu`, run in a clean Debian; and what its user then does in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.kuberay.ray import PORTS
from tests.commands import ROOT, run
from tests.datasets import sha256_by_file
from tests.infra.container.clean_root import CleanRoot, lacking, reachable
from tests.infra.container.steps import steps_of

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3_600)]

LOCKED = dict(re.findall(r"^([a-z0-9._-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))

SHARDS = ["shards", "derain", "--scale", "0.02"]

# The commands are KubeRay 1.7.0's (ray-operator/controllers/ray/common/pod.go, job.go): `ray start` of a head and of a
# worker, the wait of a worker's init container, probes by wget (before 1.6) and by HTTP, the submitter. What differs:
# head and worker share an address here, so the worker has other ports, and both have a small object store.
KUBERAY = """
set -eu
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')
small=--object-store-memory=100000000
ray start --head --block --dashboard-host=0.0.0.0 --num-cpus=0 --metrics-export-port={metrics} \
    --dashboard-agent-listen-port=52365 $small > /tmp/head.log 2>&1 &
until ray health-check --address localhost:{gcs} > /dev/null 2>&1; do sleep 1; done
ray start --address=localhost:{gcs} --block --num-cpus=2 --metrics-export-port=8081 \
    --dashboard-agent-listen-port=52366 $small > /tmp/worker.log 2>&1 &
until python -c "import urllib.request; r=urllib.request.urlopen('http://localhost:{dashboard}/api/gcs_healthz', \
timeout=10); exit(0 if b'success' in r.read() else 1)" > /dev/null 2>&1; do sleep 1; done
until bash -c "wget --tries 1 -T 2 -q -O- http://localhost:52365/api/local_raylet_healthz | grep success"
do sleep 1; done
wget --tries 1 -T 10 -q -O- http://localhost:{dashboard}/api/gcs_healthz | grep success
wget --tries 1 -T 5 -q -O /dev/null http://localhost:52365/api/healthz && echo healthy
wget --tries 1 -T 5 -q -O- http://localhost:{metrics}/metrics | grep -c ^ray_
export RAY_ADDRESS=http://localhost:{dashboard}
RAY_AUTH_MODE=disabled ray job submit -- xprompt tasks > /tmp/without.log 2>&1 || true
grep -q "Missing authentication token" /tmp/without.log && echo refused
ray job submit --submission-id one --no-wait -- {entrypoint} > /dev/null 2>&1
ray job logs --follow one 2> /dev/null
ray job status one 2>&1
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CleanRoot]:
    if why := lacking():
        pytest.skip(why)
    image, steps = steps_of("cpu")
    made = CleanRoot(tmp_path_factory.mktemp("root"))
    try:
        (index,) = (step.pairs["TORCH_INDEX"] for step in steps if step.word == "ARG" and "TORCH_INDEX" in step.pairs)
        if not reachable(f"{index}/torch/"):
            # Then PyTorch's build for CUDA, from where pip has it, runs on CPUs too; all other steps are the same.
            made.arguments["TORCH_INDEX"] = "https://pypi.org/simple"
        made.bootstrap(image)
        for step in steps:
            made.take(step)
        yield made
    finally:
        made.remove()


def test_each_installed_package_is_the_locked_one(root: CleanRoot) -> None:
    done = root.run(["uv", "pip", "freeze"])
    frozen = dict(re.findall(r"^([\w.-]+)==([^+\s]+)", done.stdout, re.MULTILINE))
    assert {"ray", "torch", "torchvision", "diffusers", "s3fs", "gcsfs", "wandb"} <= set(frozen)
    assert "mypy" not in frozen
    ours = "xprompt-data-engine"
    assert {name for name, version in frozen.items() if LOCKED.get(name) != version} <= {ours}
    assert f"{ours} @" in done.stdout or ours in frozen
    assert root.run(["uv", "pip", "check"]).returncode == 0


def test_its_user_is_no_root_and_writes_where_data_are(root: CleanRoot) -> None:
    for folder, status in {"/data": 0, "/out": 0, "/cache": 0, "/opt/xprompt": 1, "/usr/local": 1}.items():
        assert root.run(["touch", f"{folder}/x"]).returncode == status, folder
    assert root.run(["id", "--user"]).stdout == "10001\n"
    assert root.labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_makes_the_bytes_that_are_made_here(root: CleanRoot, tmp_path: Path) -> None:
    done = root.run([*root.entrypoint, *SHARDS, "--out", "/out/here"])
    assert done.returncode == 0, done.stdout + done.stderr
    verified = root.run([*root.entrypoint, "verify", "/out/here/derain"])
    assert verified.returncode == 0, verified.stdout + verified.stderr
    here = run([sys.executable, "-m", "infra.command", *SHARDS, "--out", str(tmp_path)])
    assert here.returncode == 0, here.stdout + here.stderr
    inside = sha256_by_file(root.folder / "out/here/derain/shards")
    assert len(inside) == 1 and inside == sha256_by_file(tmp_path / "derain/shards")


def test_ray_runs_as_kuberay_starts_it(root: CleanRoot) -> None:
    """With a token, in a network of its own, in which the ports are those of the manifests."""
    entrypoint = " ".join(["xprompt", *SHARDS, "--out", "/out/job"])
    ports = {name.partition("-")[0]: port for name, port in PORTS.items()}
    done = root.run(["bash", "-c", KUBERAY.format(entrypoint=entrypoint, **ports)], alone=True, timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "healthy\n" in done.stdout and "\nrefused\n" in done.stdout
    assert "next: xprompt tokens derain --out /out/job" in done.stdout and "succeeded" in done.stdout
    assert sha256_by_file(root.folder / "out/job/derain/shards") == sha256_by_file(
        root.folder / "out/here/derain/shards"
    )


@pytest.mark.parametrize("option", ["-c", "-lc"])
def test_kuberays_shells_find_the_commands(root: CleanRoot, option: str) -> None:
    """The autoscaler's command too, which is run beside the head."""
    command = "command -v python ray xprompt && ray kuberay-autoscaler --help > /dev/null && echo done"
    done = root.run(["/bin/bash", option, "--", command])
    assert done.stdout.splitlines() == [f"/opt/xprompt/bin/{name}" for name in ("python", "ray", "xprompt")] + ["done"]
