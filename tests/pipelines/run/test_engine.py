from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from ray.thirdparty_files import psutil

from infra.command import main
from manifests.dataset import Commit
from manifests.schema import Item
from manifests.verify.dataset import verify
from operators.base import Operator
from operators.degrade.rain import Rain
from pipelines.run import engine, schedule
from pipelines.run.made import Made
from pipelines.run.plan import Job
from pipelines.run.watch import Units, Watch
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.task import Task
from tests.datasets import examples, finish_job, make_dataset, plan_job, rejects, sha256_by_file, totals
from tests.pipelines.hazards import DiesAtTheEnd, DiskIsFull, Hangs, KillsWorker, Waits
from tests.sources import write_photos

PHOTOS = 40  # two shards
REFS = {f"{number:04d}.jpg" for number in range(PHOTOS)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("engine") / "photos", PHOTOS)


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
def test_pairs_that_kill_their_worker_end_as_rejects_after_bounded_deaths(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two in one shard: finding the second must not forget the first."""
    monkeypatch.setattr(engine, "UNIT_DEATHS", 1)
    monkeypatch.setattr(schedule, "PAIR_DEATHS", 2)
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
    # The first is tried with its unit and then alone; the second only alone.
    died = {path.name: len(path.read_text()) for path in deaths.iterdir()}
    assert died == {first: 1 + 2, second: 2}
    assert [path for path in (tmp_path / "out/derain/painted").rglob("*") if path.is_file()] == []
    assert list(verify(str(tmp_path / "out"))) == []


@pytest.mark.usefixtures("local_ray")
def test_a_failing_machine_fails_the_run_and_a_rerun_finishes_it(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.touch()
    task = _raining(DiskIsFull(ref=_unit(photos, tmp_path, 0)[5].ref, full=str(full)))
    monkeypatch.setitem(OUR_TASKS, "derain", task)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["xprompt", "shards", "derain", "--data", str(photos), "--out", str(out)])
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


@pytest.mark.usefixtures("local_ray")
def test_a_run_tells_how_many_units_are_done_and_at_work_and_since_when(photos: Path, tmp_path: Path) -> None:
    """The second unit waits until it was told that the first is done."""
    go, waiting = tmp_path / "go", tmp_path / "waiting"
    waiting.mkdir()
    refs = tuple(item.ref for item in _unit(photos, tmp_path, 0))
    job = plan_job(tmp_path, photos, task=_raining(Waits(refs=refs, go=str(go), waiting=str(waiting))))
    told: list[Units] = []

    def on_units(units: Sequence[Units], gpus: float) -> None:
        told.extend(units)
        assert gpus == 0
        if told[-1].done == 1:
            go.touch()

    began_s = time.time()
    engine.run([job], Watch(on_units=on_units))
    assert all(one.job.plan == job.plan and one.done + one.running + one.queued + one.failed == 2 for one in told)
    (since_s,) = {one.oldest_start_s for one in told if (one.done, one.running) == (1, 1)}
    assert began_s <= since_s <= time.time()
    last = told[-1]
    assert (last.done, last.running, last.queued, last.failed, last.oldest_start_s) == (2, 0, 0, 0, 0.0)


@pytest.mark.usefixtures("local_ray")
def test_an_interrupted_run_is_over_before_its_exception_is_handled(photos: Path, tmp_path: Path) -> None:
    """The second unit is in the making then: its worker is ended, and nothing of it appears later."""
    go, waiting = tmp_path / "go", tmp_path / "waiting"
    waiting.mkdir()
    refs = tuple(item.ref for item in _unit(photos, tmp_path, 0))
    job = plan_job(tmp_path, photos, task=_raining(Waits(refs=refs, go=str(go), waiting=str(waiting))))

    def interrupt(of: Job, made: Made) -> None:
        _until(lambda: any(waiting.iterdir()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        engine.run([job], Watch(on_made=interrupt))
    assert caught.traceback and job.dataset.committed() == {0}
    (worker,) = (int(path.name) for path in waiting.iterdir())
    _until(lambda: not psutil.pid_exists(worker))
    assert not go.exists() and job.dataset.committed() == {0}


@pytest.mark.usefixtures("local_ray")
def test_a_worker_that_dies_when_all_pairs_are_made_fails_the_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No item is blamed, since none was in the making, and the run does not go on for ever."""
    monkeypatch.setattr(engine, "ATTEMPTS", 1)
    monkeypatch.setattr(engine, "UNIT_DEATHS", 1)
    task = DiesAtTheEnd(**{field.name: getattr(DERAIN, field.name) for field in fields(DERAIN)})
    job = plan_job(tmp_path, photos, task=task)
    with pytest.raises(engine.UnitFailed, match=r"shard derain-00000\d: its worker died each time it was tried"):
        _run(job)
    assert job.dataset.committed() == set()


@pytest.mark.usefixtures("local_ray")
def test_an_operator_that_hangs_on_a_cpu_costs_its_pair_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "PAIR_DEATHS", 1)
    item = _unit(photos, tmp_path, 1)[3]
    job = plan_job(tmp_path / "out", photos, task=_raining(Hangs(ref=item.ref)))
    _run(job)
    finish_job(job)
    assert [(row["source_ref"], row["reason"]) for row in rejects(job.dataset)] == [(item.ref, "killed_worker")]
    assert {row["source_ref"] for row in examples(job.dataset)} == REFS - {item.ref}


def _until(condition: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < ends_s, "waited in vain"
        time.sleep(0.05)


def _raining(operator: Operator) -> Task:
    return DERAIN.changed(lambda link: operator if isinstance(link, Rain) else link)


def _unit(photos: Path, tmp_path: Path, unit: int) -> tuple[Item, ...]:
    job = plan_job(tmp_path / "plan", photos)
    return job.dataset.unit(job.plan, unit).items


def _run(job: Job) -> list[Commit]:
    commits: list[Commit] = []
    engine.run([job], Watch(on_made=lambda of, made: commits.append(made.commit)))
    return commits
