"""The recipe as a submitted job, in both forms of `ray job submit`, killed half-way, against an undisturbed run.

`make chaos`: a cluster is started by `ray start`, as a user does, in a copy of the repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import pytest
from ray.thirdparty_files import psutil

from manifests.verify.dataset import verify
from tests.commands import ROOT, Running, run
from tests.datasets import sha256_by_file
from tests.fixtures import FIXTURES

SOURCES = ("rain13k", "dfwb", "nyu_sync", "magicbrush")
"""Of tasks passed through, synthesised, dense and edited; hed2img and mlsd2img are left out for want of weights."""

GCS_PORT, DASHBOARD_PORT, AGENT_PORT = 26_379, 28_265, 28_266
DEADLINE_S = 300.0


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository with sources in data/sources, and in it a cluster of two nodes of one CPU each."""
    copy = tmp_path / "repository"
    ignored = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
    made = {"data", "models"}  # at the top: packages have folders of these names too
    shutil.copytree(
        ROOT, copy, ignore=lambda folder, names: {*ignored(folder, names), *(made if folder == str(ROOT) else ())}
    )
    for name in SOURCES:
        source, write = FIXTURES[name]
        write(copy / "data/sources" / source.folder)
    temporary = Path(tempfile.mkdtemp(prefix="x"))  # Ray's sockets need short paths
    head = ("--head", "--port", str(GCS_PORT), "--dashboard-port", str(DASHBOARD_PORT))
    try:
        for number, place in enumerate((head, ("--address", f"127.0.0.1:{GCS_PORT}"))):
            # Two nodes on one machine must not share a port, without which an agent starts no job, nor a folder, in
            # which one would replace the working directory of a job that runs on the other.
            port = ("--dashboard-agent-listen-port", str(AGENT_PORT + number))
            _ray(copy, "start", *place, *port, "--temp-dir", str(temporary / str(number)), "--num-cpus", "1")
        yield copy
    finally:
        for process in _cluster():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_submitted_recipes_end_with_the_bytes_of_an_undisturbed_run(repository: Path, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    program = [sys.executable, str(repository / "pipelines/full_8m.py"), "--cpus", "2", "--out", str(undisturbed)]
    done = run([*program, "--scale", "0.9"], {"PYTHONPATH": str(repository)})
    assert done.returncode == 0, done
    wanted = sha256_by_file(undisturbed)
    assert len(list(undisturbed.glob("*/dataset.json"))) == 5

    arguments = ["--data-root", str(repository / "data/sources"), "--scale", "0.9"]
    in_working_dir = ["--working-dir", ".", "--", "python", "pipelines/full_8m.py", *arguments, "--out"]
    _submit(repository, [*in_working_dir, str(tmp_path / "one")])
    assert sha256_by_file(tmp_path / "one") == wanted

    # The driver dies, then a node; the same command goes on, and the plain form ends it.
    two = tmp_path / "two"
    with _submitted(repository, [*in_working_dir, str(two)]) as job:
        job.until(lambda: _commits(two) >= 3)
        _kill(lambda process: process.cmdline()[1:2] == ["pipelines/full_8m.py"])
        assert job.wait().returncode != 0
    after_driver = _commits(two)
    with _submitted(repository, [*in_working_dir, str(two)]) as job:
        job.until(lambda: _commits(two) >= after_driver + 2)
        _kill_last_node()
        job.wait()  # it may end well, or be killed with the node, as the driver may run there
    assert after_driver < _commits(two)
    options = ["--out", str(two), "--scale", "0.9"]
    _submit(repository, ["--", "pipelines/full_8m.py", *options])
    assert sha256_by_file(two) == wanted
    assert list(verify(str(two))) == []


def _environment() -> dict[str, str]:
    """No token needed, and `python` is ours, as after `source .venv/bin/activate`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"PATH": path, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": ""}


def _ray(folder: Path, *arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "ray"), *arguments]
    environment = {**os.environ, **_environment()}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done


def _submitted(repository: Path, arguments: list[str]) -> Running:
    ray = [str(Path(sys.executable).parent / "ray"), "job", "submit"]
    address = ["--address", f"http://127.0.0.1:{DASHBOARD_PORT}"]
    return Running([*ray, *address, *arguments], _environment(), folder=repository)


def _submit(repository: Path, arguments: list[str]) -> None:
    with _submitted(repository, arguments) as job:
        done = job.wait()
    assert done.returncode == 0 and "succeeded" in done.stdout, f"{done.stdout[-4_000:]}\n{done.stderr[-1_000:]}"


def _commits(out: Path) -> int:
    return len(list(out.glob("*/manifest/*.parquet")))


def _cluster() -> list[psutil.Process]:
    """All processes of this test's cluster, known by its port."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(f":{GCS_PORT}" in word or f"={GCS_PORT}" in word for word in process.cmdline()):
                found += [process, *process.children(recursive=True)]
    return found


def _kill(chosen: Callable[[psutil.Process], bool]) -> None:
    killed = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if chosen(process):
                process.kill()
                killed += 1
    assert killed


def _kill_last_node() -> None:
    """kill -9 the raylet that was started last, and with it its workers."""
    raylets = [process for process in _cluster() if process.name() == "raylet"]
    assert len(raylets) == 2
    last = max(raylets, key=lambda process: process.create_time())
    os.kill(last.pid, SIGKILL)
    time.sleep(1)
