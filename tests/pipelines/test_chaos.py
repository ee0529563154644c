"""Kills processes for real while a run works, and compares every file with those of an undisturbed run.

The undisturbed dataset is made unit after unit in one process, without Ray. `pytest -m chaos` runs the long versions.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest
from ray.thirdparty_files import psutil

from infra.bench.logical import PainterKills
from infra.bench.paint_log import read_log, waste
from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from pipelines.prepare import prepare
from pipelines.report.terminal import SILENT
from pipelines.run.dataset import Work, make_datasets
from pipelines.run.plan import make_job
from pipelines.run.schedule import IN_HAND, PAIR_DEATHS
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from tests.commands import Running, committed, run, shards_command
from tests.conftest import Undisturbed
from tests.datasets import examples, make_dataset, sha256_by_file
from tests.pipelines.painted import painted_task
from tests.sources import write_photos
from tests.tiny import tiny_models
from tests.vlm import KEY
from tests.vlm import running as vlm_running

ROUNDS = 10
MAX_WORKER_KILLS = 4
"""In one run. Five aimed at one pair would be taken for the pair's fault, as they should."""

MAX_PAINTER_KILLS = PAIR_DEATHS - 2
"""In one run, in which a node dies too. Any more, aimed at one pair, would be taken for its fault."""

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


@pytest.mark.chaos
def test_deaths_among_painters_leave_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two painters, of a node and its painter, of the driver; the next run finishes. The model is not a real one."""
    data, log = write_photos(tmp_path / "photos", 48), str(tmp_path / "log")
    monkeypatch.setenv("PAINT_LOG", log)
    command = [sys.executable, "-m", "infra.command", "shards", "tests.pipelines.painted:TASK"]
    command += ["--data", str(data), "--out", str(tmp_path / "out")]
    kills = PainterKills(log=log, chance=random.Random(0))

    def painted(pictures: int) -> bool:
        return sum(one.ended_s is not None for one in read_log(log)) >= pictures

    with _two_nodes(num_gpus=1) as (cluster, second):
        with Running(command, {"RAY_ADDRESS": cluster.address}) as running:
            for pictures in (4, 10):
                running.until(lambda number=pictures: painted(number))  # type: ignore[misc]
                before = kills.kills
                running.until(lambda before=before: _killed(kills, before))  # type: ignore[misc]
            running.until(lambda: painted(16))
            cluster.remove_node(second, allow_graceful=False)
            running.until(lambda: painted(28))
            _kill_driver(running)
        assert not (tmp_path / "out/painted/dataset.json").exists()
        done = run(command, {"RAY_ADDRESS": cluster.address})
        assert done.returncode == 0, done
    lost = waste(read_log(log))
    assert lost.in_hand + lost.again <= IN_HAND * (kills.kills + 1 + 2)  # of the node one, of the driver two
    make_dataset(tmp_path / "here", data, task=painted_task(f"{log}.here"))
    assert sha256_by_file(tmp_path / "out") == sha256_by_file(tmp_path / "here")
    assert list(verify(str(tmp_path / "out"))) == []


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", ["style", "pose", "editing"])
def test_models_under_random_kills_leave_the_bytes_of_one_process(
    name: str, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Painters, workers, drivers and a node die at random moments, until one run gets to its end."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"random.seed: {seed}")
    chance = random.Random(seed)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # workers have it of their node
    with ExitStack() as stack:
        server = stack.enter_context(vlm_running())
        server.answer = lambda text: (
            "Instruction: Add a hat.\nBefore: A cat.\nAfter: A cat with a hat.\nWhere: 250, 0, 750, 500"
        )
        options = _options(name, tiny, tmp_path, server.url)
        expected = _made_here(name, options, tmp_path / "here")
        out = tmp_path / "out"
        command = [sys.executable, "-m", "infra.command", "shards", name, "--out", str(out)]
        for option, value in options.items():
            command += [f"--{option.replace('_', '-')}", str(value)]
        cluster, second = stack.enter_context(_two_nodes(num_gpus=1))
        counts: Counter[str] = Counter()
        drivers = chance.randrange(1, 4)
        while not (out / name / "dataset.json").exists():
            with Running(command, {"RAY_ADDRESS": cluster.address}) as running:
                counts.update(_disturb_models(running, chance, cluster, [] if counts["nodes"] else [second], drivers))
            drivers -= 1
        print(dict(counts), flush=True)
    assert counts["painters"] + counts["workers"] >= 1
    assert _without_answers(sha256_by_file(out / name)) == _without_answers(expected)
    assert _answers(out / name) == _answers(tmp_path / "here" / name)
    assert list(verify(str(out))) == []


def _without_answers(files: dict[str, str]) -> dict[str, str]:
    return {file: sha256 for file, sha256 in files.items() if not file.startswith("responses/")}


def _answers(folder: Path) -> set[str]:
    """What a model has answered, whichever file each answer is in: that depends on who asked."""
    return {line for file in folder.glob("responses/*.jsonl") for line in file.read_text().splitlines()}


def _options(name: str, tiny: str, tmp_path: Path, url: str) -> dict[str, Any]:
    """What a task is given, so that a run of it is some minutes of tiny models."""
    if name == "style":
        return {"count": 6, "models": tiny, "keep": "all"}
    if name == "pose":
        return {"count": 6, "models": tiny_models("blazepose", "sd15", "sd15-controlnet-openpose"), "keep": "all"}
    photos = write_photos(tmp_path / "photos", 3, 64, 64)
    return {"data": photos, "models": tiny, "keep": "all", "vlm": url, "vlm_model": "m"}


def _made_here(name: str, options: dict[str, Any], out: Path) -> dict[str, str]:
    """The files of a dataset that is made unit after unit in this process, without Ray."""
    prepared = prepare(name, {**options, "out": str(out)})
    job = make_job(prepared.task, prepared.reader, f"{out}/{name}", prepared.values["seed"])
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    work = Work(job=job, models=options["models"], taken_as="", prices=None)
    make_datasets([work], lambda: pytest.fail("Ray is not needed"), SILENT)
    return sha256_by_file(out / name)


def _disturb_models(
    running: Running, chance: random.Random, cluster: Any, nodes: list[Any], drivers: int
) -> Counter[str]:
    """Kill painters and workers, a node, and the driver if it is its turn, some seconds of work apart."""
    counts: Counter[str] = Counter()
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    while running.process.poll() is None:
        time.sleep(chance.uniform(1, 6))
        busy = [one for pid in raylets for one in _busy_workers(pid, ("made_unit", "Painter."))]
        if not busy:
            continue
        kind = chance.choice(["painters", "painters", "workers", "nodes", "drivers"])
        if kind == "drivers" and drivers > 0:
            _kill_driver(running)
            return counts + Counter(drivers=1)
        if kind == "nodes" and nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            counts["nodes"] += 1
        elif kind in ("painters", "workers") and counts["painters"] + counts["workers"] < MAX_PAINTER_KILLS:
            with suppress(psutil.NoSuchProcess):
                worker = chance.choice(busy)
                title = "".join(worker.cmdline())
                worker.kill()
                counts["painters" if "Painter." in title else "workers"] += 1
    done = running.wait()
    assert done.returncode == 0, done
    return counts


def _killed(kills: PainterKills, before: int) -> bool:
    """Kill a painter if one can be killed now. Whether there were more kills than before."""
    kills()
    return kills.kills > before


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
def _two_nodes(**each: float) -> Iterator[tuple[Any, Any]]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **each})
    try:
        yield cluster, cluster.add_node(num_cpus=1, **each)
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


def _busy_workers(pid: int, what: tuple[str, ...] = ("made_unit",)) -> list[Any]:
    """The Ray workers below a process that are making a unit, or whatever else their titles say."""
    busy = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(word in "".join(process.cmdline())[:40] for word in what):
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
