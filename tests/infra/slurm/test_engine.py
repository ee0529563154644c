"""The engine as a job of a real Slurm, on a Ray over two of its nodes, stopped in every way that Slurm has: every file
is, byte for byte, that of a dataset that was made in this process, without Ray and without Slurm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from manifests.verify.dataset import verify
from tests.commands import ROOT, committed, shards_command
from tests.conftest import Undisturbed
from tests.datasets import make_dataset, sha256_by_file
from tests.infra.slurm.daemons import Slurm
from tests.sources import write_photos

SCRIPT = str(ROOT / "infra/slurm/engine.sbatch")

_SEE_NODES = """
import os, sys, ray
ray.init(logging_level="error")
found = sorted((node["Resources"]["CPU"], node["Resources"].get("GPU", 0)) for node in ray.nodes())
print("nodes", found, "token", os.environ["RAY_AUTH_MODE"])
ray.shutdown()
sys.exit(7)
"""

_ASK_SERVER = """
import json, os, sys, urllib.request
option, url, name, model = sys.argv[1:]
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
with urllib.request.urlopen(urllib.request.Request(url + "/models", headers=headers)) as answer:
    found = json.load(answer)["data"][0]
print("asked", option, name, model == found["id"], found, "engine has GPU", os.environ["CUDA_VISIBLE_DEVICES"])
"""

_VLLM = """#!{python}
# In the place of vLLM: the same options, key and list of models.
import http.server, json, os, sys
serve, model, *options = sys.argv[1:]
told = dict(zip(options, options[1:]))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        allowed = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        self.send_response(200 if allowed else 401)
        self.end_headers()
        if allowed:
            gpus = os.environ["CUDA_VISIBLE_DEVICES"]
            self.wfile.write(json.dumps({{"data": [{{"id": model, "gpus": gpus}}]}}).encode())

assert serve == "serve" and told["--tensor-parallel-size"] == "1"
http.server.HTTPServer((told["--host"], int(told["--port"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """More work than tests/conftest.py's, as it is stopped three times."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data = write_photos(folder / "photos", 1_024, 400, 380)
    dataset = make_dataset(folder / "out", data)
    return Undisturbed(data=data, files=sha256_by_file(folder / "out/derain"), units=dataset.plan().units)


@pytest.mark.infra
@pytest.mark.timeout(1_800)
def test_however_it_is_stopped_the_same_bytes_come_out(slurm: Slurm, undisturbed: Undisturbed, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def submitted() -> str:
        return slurm.submit(tmp_path, "--nodes=2", "--cpus-per-task=1", SCRIPT, *shards_command(undisturbed.data, out))

    def restarted(job: str, times: int) -> int:
        """Wait until Slurm has begun a job again so often; how many shards there are then."""
        slurm.until(job, lambda: slurm.job(job)["Restarts"] == str(times))
        made = committed(out)
        assert 0 < made < undisturbed.units
        return made

    # A job of a higher partition takes its nodes: Slurm requeues it.
    job = submitted()
    slurm.until(job, lambda: committed(out) >= 1)
    slurm.preempt()
    made = restarted(job, 1)
    # SIGUSR1, as before the end of its time: the command stops as by Ctrl-C, and the job requeues itself.
    slurm.until(job, lambda: committed(out) > made)
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    made = restarted(job, 2)
    assert "The job's time is nearly over: it is requeued" in _logs(tmp_path)
    # It is cancelled: nobody requeues it, and the same command, submitted again, goes on.
    slurm.until(job, lambda: committed(out) > made)
    slurm.run("scancel", job)
    assert slurm.ended(job)["JobState"] == "CANCELLED"
    assert made < committed(out) < undisturbed.units
    job = submitted()
    assert slurm.ended(job)["JobState"] == "COMPLETED", _logs(tmp_path)

    assert sha256_by_file(out / "derain") == undisturbed.files
    assert list(verify(str(out))) == []
    assert "Ray runs on 2 of 2 nodes" in _logs(tmp_path)


@pytest.mark.infra
def test_a_heterogeneous_job_has_the_nodes_of_all_components_and_its_commands_status(
    slurm: Slurm, tmp_path: Path
) -> None:
    first, second = ["--nodes=1", "--cpus-per-task=2"], ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=3"]
    job = slurm.submit(tmp_path, *first, ":", *second, SCRIPT, sys.executable, "-c", _SEE_NODES)
    ended = slurm.ended(job)
    assert (ended["JobState"], ended["ExitCode"], ended["Restarts"]) == ("FAILED", "7:0", "0"), _logs(tmp_path)
    assert "nodes [(2.0, 0), (3.0, 0), (3.0, 0)] token token" in _logs(tmp_path)
    assert list(Path("/tmp").glob(f"xp-{job}-*")) == []


@pytest.mark.infra
@pytest.mark.timeout(1_200)
def test_two_jobs_on_one_node_do_not_meet(slurm: Slurm, tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 64)
    expected = make_dataset(tmp_path / "here", data)
    jobs = [
        slurm.submit(
            tmp_path, "--nodelist=n1", "--cpus-per-task=1", SCRIPT, *shards_command(data, tmp_path / f"out-{name}")
        )
        for name in "ab"
    ]
    ended = [slurm.ended(job) for job in jobs]
    assert [(one["JobState"], one["NodeList"]) for one in ended] == [("COMPLETED", "n1")] * 2, _logs(tmp_path)
    assert ended[1]["StartTime"] < ended[0]["EndTime"], "they ran one after the other"
    for name in "ab":
        assert sha256_by_file(tmp_path / f"out-{name}/derain") == sha256_by_file(Path(expected.store.root))


@pytest.mark.infra
def test_the_command_gets_the_address_of_a_server_on_gpus_of_its_own(slurm: Slurm, tmp_path: Path) -> None:
    """infra/vlm/serve.sh is the real one; in its virtual environment is a program in the place of vLLM."""
    vllm = tmp_path / "vllm/bin/vllm"
    vllm.parent.mkdir(parents=True)
    vllm.write_text(_VLLM.format(python=sys.executable))
    vllm.chmod(0o755)
    environment = {"XPROMPT_VLM_GPUS": "1", "XPROMPT_VLM_VENV": str(tmp_path / "vllm")}
    command = [sys.executable, "-c", _ASK_SERVER]
    job = slurm.submit(tmp_path, "--cpus-per-task=1", "--gpus-per-node=2", SCRIPT, *command, **environment)
    assert slurm.ended(job)["JobState"] == "COMPLETED", _logs(tmp_path)
    served = "{'id': 'Qwen/Qwen2-VL-7B-Instruct', 'gpus': '0'}"
    assert f"asked --vlm --vlm-model True {served} engine has GPU 1" in _logs(tmp_path)


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))
