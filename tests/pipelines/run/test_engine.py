from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from manifests.dataset import Commit
from manifests.schema import Item
from manifests.verify.dataset import verify
from operators.base import Operator
from operators.vlm.request import Usage
from pipelines.__main__ import main
from pipelines.run import engine
from pipelines.run.engine import Made
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.catalogue import DERAIN, TASKS, Task
from tests.datasets import examples, finish_job, make_dataset, plan_job, rejects, sha256_by_file, totals
from tests.pipelines.hazards import DiskIsFull, KillsWorker
from tests.sources import write_photos

PHOTOS = 40  # two shards
REFS = {f"{number:04d}.jpg" for number in range(PHOTOS)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("engine") / "photos", PHOTOS)


@pytest.fixture
def _in_local_ray(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the command line use the session's Ray."""
    monkeypatch.setattr(engine, "ray_session", lambda cpus, say: nullcontext())


@pytest.mark.usefixtures("local_ray")
def test_ray_makes_the_same_bytes_as_this_process_and_reports_each_unit_once(photos: Path, tmp_path: Path) -> None:
    job = plan_job(tmp_path / "ray", photos)
    commits = _run(job)
    finish_job(job)
    assert Counter(commit.unit for commit in commits) == {0: 1, 1: 1}
    assert sum(commit.pairs for commit in commits) == PHOTOS
    make_dataset(tmp_path / "here", photos)
    assert sha256_by_file(tmp_path / "ray") == sha256_by_file(tmp_path / "here")


@pytest.mark.usefixtures("local_ray")
def test_only_what_is_not_committed_is_made(photos: Path, tmp_path: Path) -> None:
    job = plan_job(tmp_path, photos)
    _run(job)
    (tmp_path / "derain/manifest/derain-000001.parquet").unlink()
    kept = tmp_path / "derain/shards/derain-000000.tar"
    before = kept.stat()
    assert [commit.unit for commit in _run(job)] == [1]
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert _run(job) == []


@pytest.mark.usefixtures("local_ray")
def test_pairs_that_kill_their_worker_end_as_rejects_after_bounded_deaths(photos: Path, tmp_path: Path) -> None:
    """Two in one shard: finding the second must not forget the first."""
    first, second = (item.ref for item in (_unit(photos, tmp_path, 1)[3], _unit(photos, tmp_path, 1)[11]))
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    job = plan_job(tmp_path / "out", photos, task=_raining(KillsWorker(refs=(first, second), deaths=str(deaths))))
    commits = _run(job)
    finish_job(job)
    assert {commit.unit: commit.pairs for commit in commits} == {0: 20, 1: 18}
    assert {row["source_ref"] for row in examples(job.dataset)} == REFS - {first, second}
    assert [(row["source_ref"], row["operator"], row["reason"]) for row in rejects(job.dataset)] == [
        (first, "worker", "killed_worker"),
        (second, "worker", "killed_worker"),
    ]
    # The first is tried by Ray Data and then one attempt at a time; the second only there.
    died = {path.name: len(path.read_text()) for path in deaths.iterdir()}
    assert died == {first: 1 + engine.UNIT_RETRIES + engine.ITEM_DEATHS, second: engine.ITEM_DEATHS}
    assert list(verify(str(tmp_path / "out"))) == []


@pytest.mark.usefixtures("_in_local_ray")
def test_a_failing_machine_fails_the_run_and_a_rerun_finishes_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.touch()
    task = _raining(DiskIsFull(ref=_unit(photos, tmp_path, 0)[5].ref, full=str(full)))
    monkeypatch.setitem(TASKS, "derain", task)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["pipelines", "shards", "derain", "--data", str(photos), "--out", str(out)])
    assert main() == 1
    errors = capsys.readouterr().err
    assert "shard derain-000000: [Errno 28] No space left on device" in errors
    assert "the same command goes on from there" in errors
    folder = out / "derain"
    assert [path.name for path in (folder / "manifest").iterdir()] == ["derain-000001.parquet"]
    assert [path.name for path in (folder / "shards").iterdir()] == ["derain-000001.tar"]
    assert not (folder / "dataset.json").exists()

    full.unlink()
    assert main() == 0
    made = plan_job(out, photos, task=task).dataset
    assert {row["source_ref"] for row in examples(made)} == REFS
    assert totals(made)["rejects"] == 0


def test_an_interrupted_run_is_over_before_its_exception_is_handled(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception keeps the generator alive, which, closed later, would call a Ray that has been shut down."""
    job = plan_job(tmp_path, photos)
    closed = []

    def two_units(job: Job, units: list[int]) -> Iterator[Made]:
        try:
            for unit in units:
                yield Made(commit=make_unit(job, unit, Spent()), usage=Usage(), spent=Spent())
        finally:
            closed.append(True)

    def interrupt(made: Made) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_run_units", two_units)
    with pytest.raises(KeyboardInterrupt) as caught:
        engine.run(job, interrupt)
    assert caught.traceback and closed == [True]
    assert job.dataset.committed() == {0}


@pytest.mark.usefixtures("local_ray")
def test_a_worker_that_dies_before_any_item_fails_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is blamed that was not reached: no item is rejected, and the run does not go on for ever."""
    job = plan_job(tmp_path, photos)
    monkeypatch.setattr(engine, "_attempt", _dies)
    with pytest.raises(engine.UnitFailed, match="shard derain-000001: its worker died 2 times before"):
        engine._narrow(job, 1)
    assert job.dataset.committed() == set()


@pytest.mark.parametrize(("gpus", "cluster", "share"), [(0.5, 2.0, 0.5), (0.5, 0.0, 0.0), (None, 2.0, 0.0)])
def test_the_attempts_at_a_unit_whose_workers_died_have_the_gpu_that_they_had(
    gpus: float | None, cluster: float, share: float, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, float]] = []

    def remote(**options: float) -> object:
        asked.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": cluster})
    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(Task, "gpus", gpus)
    with pytest.raises(KeyboardInterrupt):
        engine._narrow(plan_job(tmp_path, photos), 1)
    assert asked == [{"max_retries": 0, "num_gpus": share}]


def _dies(*arguments: object) -> None:
    os.kill(os.getpid(), 9)


def _raining(operator: Operator) -> Task:
    return replace(DERAIN, degrade=operator)


def _unit(photos: Path, tmp_path: Path, unit: int) -> tuple[Item, ...]:
    job = plan_job(tmp_path / "plan", photos)
    return job.dataset.unit(job.plan, unit).items


def _run(job: Job) -> list[Commit]:
    commits: list[Commit] = []
    engine.run(job, lambda made: commits.append(made.commit))
    return commits
