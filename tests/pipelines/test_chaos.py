"""Kills processes for real while a run works, and compares every file with those of an undisturbed run.

The undisturbed dataset is made unit after unit in one process, without Ray. `pytest -m chaos` runs the long versions.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from ray.thirdparty_files import psutil

from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from tests.commands import Running, committed, run, shards_command
from tests.conftest import Undisturbed
from tests.datasets import examples, sha256_by_file

ROUNDS = 10
MAX_WORKER_KILLS = 4
"""In one run. Five aimed at one pair would be taken for the pair's fault, as they should."""

_RAY_GAVE_UP = "Ray does not start on this machine: The current node timed out during startup"
"""Ray's own limit of 30 s, which nothing sets."""


def test_killed_workers_and_a_killed_driver_leave_the_same_bytes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A worker dies while its unit is half-made, then the driver with units to go; the next run finishes."""
    chance = random.Random(0)
    command = shards_command(undisturbed.data, tmp_path, "--cpus", "2")
    with Running(command) as running:
        running.until(lambda: _kill_busy_worker(running, chance))
        at_kill = committed(tmp_path)
        running.until(lambda: committed(tmp_path) > at_kill)
        _kill_driver(running)
    assert at_kill < committed(tmp_path) < undisturbed.units
    assert not (tmp_path / "derain/dataset.json").exists()
    done = run(command)
    assert done.returncode == 0, done
    _assert_same(tmp_path, undisturbed)


def test_a_lost_node_leaves_the_same_bytes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    _lose_a_node(undisturbed, tmp_path)


@pytest.mark.chaos
def test_any_parallelism_gives_the_same_bytes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    for cpus in ("1", "2", "4"):
        done = run(shards_command(undisturbed.data, tmp_path / cpus, "--cpus", cpus))
        assert done.returncode == 0, done
        _assert_same(tmp_path / cpus, undisturbed)


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
def test_random_kills_leave_the_same_bytes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Each round: workers die at random moments, then the driver, over and over, until one run gets to its end."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"random.seed: {seed}")
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    for number in range(ROUNDS):
        out = tmp_path / str(number)
        command = shards_command(undisturbed.data, out, "--cpus", str(chance.choice((1, 2, 3))))
        while not (out / "derain/dataset.json").exists():
            with Running(command) as running:
                workers, outcome = _disturb(running, out, chance)
            counts["workers"] += workers
            counts[outcome] += 1
            counts["drivers mid-run"] += outcome == "driver killed" and 0 < committed(out) < undisturbed.units
        _assert_same(out, undisturbed)
        print(f"round {number}: {dict(counts)}", flush=True)
    assert counts["workers"] >= ROUNDS and counts["Ray not started"] <= ROUNDS
    assert counts["drivers mid-run"] >= ROUNDS // 2


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_lost_nodes_leave_the_same_bytes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    for number in range(3):
        _lose_a_node(undisturbed, tmp_path / str(number))


def _lose_a_node(undisturbed: Undisturbed, out: Path) -> None:
    """Run on a head and a second node, and kill the second while a worker on it makes a unit."""
    with _two_nodes() as (cluster, second):
        with Running(shards_command(undisturbed.data, out), {"RAY_ADDRESS": cluster.address}) as running:
            raylet = second.all_processes["raylet"][0].process.pid
            # One unit is made on each node; that of the second is not reported yet.
            running.until(lambda: committed(out) > 0 and bool(_busy_workers(raylet)))
            cluster.remove_node(second, allow_graceful=False)
            at_kill = committed(out)
            done = running.wait()
        assert done.returncode == 0, done
    assert 0 < at_kill < undisturbed.units
    _assert_same(out, undisturbed)


@contextmanager
def _two_nodes() -> Iterator[tuple[Any, Any]]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster, cluster.add_node(num_cpus=1)
    finally:
        cluster.shutdown()


def _disturb(running: Running, out: Path, chance: random.Random) -> tuple[int, str]:
    """Kill the driver some commits from now, and workers before it: how many workers died, and how the run ended.

    Counted in commits, not in seconds, a run gets on with the work however slow the machine is.
    """
    seen, dies_at, workers = -1, committed(out) + chance.randrange(4), 0
    while running.process.poll() is None:
        done = committed(out)
        if _busy_workers(running.process.pid):
            if done >= dies_at:
                time.sleep(chance.uniform(0, 1))
                _kill_driver(running)
                return workers, "driver killed"
            if done > seen and workers < MAX_WORKER_KILLS and chance.random() < 0.5:
                workers += _kill_busy_worker(running, chance)
            seen = done
        time.sleep(0.05)
    ended = running.wait()
    if _RAY_GAVE_UP in ended.stderr:  # on a busy machine; the next run goes on
        return workers, "Ray not started"
    assert ended.returncode == 0, ended
    return workers, "finished"


def _kill_busy_worker(running: Running, chance: random.Random) -> bool:
    """kill -9 one of the Ray workers that are making a unit; False if there is none."""
    workers = _busy_workers(running.process.pid)
    if not workers:
        return False
    time.sleep(chance.uniform(0, 0.5))
    with suppress(psutil.NoSuchProcess):
        chance.choice(workers).kill()
        return True
    return False


def _kill_driver(running: Running) -> None:
    """kill -9 the driver alone: what it started is left to itself, as after a crash."""
    os.kill(running.process.pid, SIGKILL)
    running.process.wait()


def _busy_workers(pid: int) -> list[Any]:
    """The Ray workers below a process that are making a unit."""
    busy = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "Map(" in "".join(process.cmdline())[:40]:
                    busy.append(process)
    return busy


def _assert_same(out: Path, undisturbed: Undisturbed) -> None:
    """Every file is that of the undisturbed run, no example is lost or doubled, and the dataset is sound."""
    assert sha256_by_file(out / "derain") == undisturbed.files
    rows = examples(Dataset(str(out / "derain")))
    found = Counter((row["source_ref"], row["direction"], row["kind"]) for row in rows)
    assert set(found.values()) == {1}
    assert {ref for ref, _, _ in found} == {path.name for path in undisturbed.data.iterdir()}
    assert len(found) == 4 * len(list(undisturbed.data.iterdir()))
    assert list(verify(str(out))) == []
