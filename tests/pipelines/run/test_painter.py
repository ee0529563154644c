"""Painters on GPUs that are numbers: what is lost with one, who is blamed, and what is never painted twice."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.bench.logical import Meddler, PainterKills
from infra.bench.paint_log import read_log, waste
from infra.bench.sleeping import Nothing
from manifests.verify.dataset import verify
from operators.base import StopRun
from operators.word.instruct import Instruct
from pipelines.report.terminal import SILENT
from pipelines.run import engine, nothing, painter, schedule
from pipelines.run.dataset import Work, make_datasets
from pipelines.run.painted import Painted
from pipelines.run.plan import Job
from pipelines.run.schedule import IN_HAND, PAIR_DEATHS
from pipelines.run.stages import Stage
from pipelines.run.watch import Watch
from pipelines.tasks.task import ONE, Task
from tests.datasets import examples, finish_job, make_dataset, plan_job, reasons, rejects, sha256_by_file
from tests.pipelines.hazards import Paints, PaintsAgain

GPUS = 2

pytestmark = pytest.mark.usefixtures("gpu_ray")


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


@pytest.fixture
def job(tmp_path: Path, log: str) -> Callable[..., Job]:
    """A dataset of so many units of so many pairs, whose one painter is given options."""

    def planned(units: int, pairs: int, folder: str = "ray", **options: Any) -> Job:
        task = _task(pairs, Paints(log=log, **options))
        return plan_job(tmp_path / folder, None, task=task, reader=_reader(units * pairs))

    return planned


def test_the_bytes_are_those_of_one_process_and_nothing_is_painted_twice(
    job: Callable[..., Job], tmp_path: Path, log: str
) -> None:
    made = job(3, 4, rejects=("1", "6"))
    engine.run([made], Watch())
    assert Counter(one.what for one in read_log(log)) == Counter(map(str, range(12)))
    finish_job(made)
    assert reasons(made.dataset) == {"1": "ugly", "6": "ugly"}
    assert {dict(row["scores"])["beauty"] for row in rejects(made.dataset)} == {0.25}
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 3, 4, rejects=("1", "6"))


def test_killed_painters_lose_what_they_had_in_hand_and_no_more(
    job: Callable[..., Job], tmp_path: Path, log: str
) -> None:
    made, kills = job(2, 12, picture_s=0.3), PainterKills(log=log, chance=random.Random(0))

    def kill_after_every_fifth() -> None:
        if sum(one.ended_s is not None for one in read_log(log)) >= 5 * (kills.kills + 1):
            kills()

    with Meddler(kill_after_every_fifth, every_s=0.05):
        engine.run([made], Watch())
    lost = waste(read_log(log))
    assert 3 <= kills.kills <= 6
    assert lost.in_hand <= kills.kills  # it paints one at a time
    assert lost.in_hand + lost.again <= IN_HAND * kills.kills
    finish_job(made)
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 2, 12)


@pytest.mark.parametrize(
    "gpu_s",
    [pytest.param(60.0, id="pair by pair"), pytest.param(0.1, id="whole units", marks=pytest.mark.chaos)],
)
def test_a_pair_that_kills_its_painters_is_rejected_and_its_neighbours_are_kept(
    job: Callable[..., Job], log: str, gpu_s: float
) -> None:
    made = job(2, 6, kills=("3",), gpu_s=gpu_s)
    engine.run([made], Watch())
    finish_job(made)
    assert [(row["source_ref"], row["operator"], row["reason"]) for row in rejects(made.dataset)] == [
        ("3", "worker", "killed_worker")
    ]
    assert {row["source_ref"] for row in examples(made.dataset)} == set(map(str, range(12))) - {"3"}
    deaths = Counter(one.what for one in read_log(log))["3"]
    assert PAIR_DEATHS <= deaths <= PAIR_DEATHS + schedule.UNIT_DEATHS
    assert all(not one.gpu.endswith(f"process-{one.pid}") for one in read_log(log))  # each attempt had a GPU
    assert list(verify(made.out)) == []


def test_where_all_painters_die_the_run_ends_and_no_pair_is_blamed(
    job: Callable[..., Job], tmp_path: Path, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in main memory that is too small for the models."""
    monkeypatch.setattr(schedule, "PAIR_DEATHS", 1)
    monkeypatch.setattr(engine, "IN_A_ROW", 4)
    made = job(2, 6, kills=tuple(map(str, range(12))))
    with pytest.raises(engine.UnitFailed, match=r"workers died at whatever they tried"):
        engine.run([made], Watch())
    well = job(2, 6)
    engine.run([well], Watch())
    finish_job(well)
    assert rejects(well.dataset) == []
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 2, 6)


def test_what_a_group_waits_for_its_gpu_is_no_work_on_it(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other group in hand has the GPU then. The report takes all that steps leave of a unit for hashing."""
    now_s = 0.0

    class Taken:
        """A GPU that is to be had after 100 s."""

        def __enter__(self) -> None:
            nonlocal now_s
            now_s += 100.0

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(painter, "time", SimpleNamespace(perf_counter=lambda: now_s))
    one = painter.Painter()
    monkeypatch.setattr(one, "_gpu", Taken())
    made = job(1, 2)
    assert one.paint(made, 1, 0, (0, 1)).spent.units_s == 0.0
    assert now_s == 200.0


@pytest.mark.parametrize("how", ["hangs", "holds"])
def test_a_painter_that_hangs_is_ended_and_its_pair_rejected(
    job: Callable[..., Job], log: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that its operator states: all else that a painter does takes less on a busy machine."""
    monkeypatch.setattr(schedule, "PAIR_DEATHS", 1)
    made = job(1, 4, timeout_s=8.0, **{how: ("2",)})
    engine.run([made], Watch())
    finish_job(made)
    assert reasons(made.dataset) == {"2": "killed_worker"}
    tried = [one for one in read_log(log) if one.what == "2"]
    assert 1 <= len(tried) <= 2 and all(one.ended_s is None for one in tried)
    assert {row["source_ref"] for row in examples(made.dataset)} == {"0", "1", "3"}


def test_a_failing_machine_is_tried_anew_and_then_fails_the_run_when_all_else_is_made(
    job: Callable[..., Job], tmp_path: Path, log: str
) -> None:
    """Each try is another process: what fails of a GPU, fails again in the process that has seen it fail."""
    full = tmp_path / "full"
    full.touch()
    options: dict[str, Any] = {"fails": ("5",), "full": str(full)}
    made = job(3, 4, **options)
    name = made.plan.name(1)
    with pytest.raises(engine.UnitFailed, match=rf"^shard {name}: \[Errno 28\] No space left on device$"):
        engine.run([made], Watch())
    tries = [one.pid for one in read_log(log) if one.what == "5"]
    assert len(tries) == len(set(tries)) == engine.ATTEMPTS
    assert made.dataset.committed() == {0, 2}
    full.unlink()
    before = len(read_log(log))
    engine.run([made], Watch())
    assert {one.what for one in read_log(log)[before:]} <= {"4", "5", "6", "7"}
    finish_job(made)
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 3, 4)


def test_what_no_other_try_can_cure_ends_the_run_at_once(job: Callable[..., Job], log: str) -> None:
    """While others paint, who would never come to an end."""
    made = job(4, 4, stops=("1",), hangs=("9", "12"))
    with pytest.raises(StopRun, match=r"^the key is refused$"):
        engine.run([made], Watch())
    assert Counter(one.what for one in read_log(log))["1"] == 1


def test_a_resumed_run_paints_nothing_that_was_kept(job: Callable[..., Job], tmp_path: Path, log: str) -> None:
    made = job(2, 12)
    delivered: list[Any] = []

    def interrupt(of: Job, what: Any) -> None:
        delivered.append(what)
        if len(delivered) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run([made], Watch(on_delivered=interrupt))
    kept = {
        item.ref
        for unit in range(2)
        for position, item in enumerate(made.dataset.unit(made.plan, unit).items)
        if position in Painted(made.dataset, made.plan.name(unit)).progress()
    }
    assert 5 <= len(kept) < 24
    before = len(read_log(log))
    engine.run([made], Watch())
    again = {one.what for one in read_log(log)[before:]}
    # A painter may have kept one more between the interruption and its end.
    assert not kept & again and 0 < len(again) <= 24 - len(kept)
    finish_job(made)
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 2, 12)


def test_what_is_damaged_on_its_way_is_painted_again(job: Callable[..., Job], tmp_path: Path, log: str) -> None:
    """Found out when its unit is assembled."""
    made = job(1, 4)
    damaged: list[str] = []

    def damage(of: Job, what: Any) -> None:
        folder = Path(made.out, "painted", made.plan.name(0))
        if not damaged and len(files := sorted(folder.iterdir())) >= 2:
            files[0].write_bytes(files[0].read_bytes()[:-1])
            damaged.append(files[0].name)

    engine.run([made], Watch(on_delivered=damage))
    assert damaged
    finish_job(made)
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 1, 4)


def test_pairs_on_their_way_are_gone_when_a_dataset_is_finished(
    job: Callable[..., Job], tmp_path: Path, log: str
) -> None:
    """Also what an earlier run, which was killed, has left of a unit that is committed."""
    made = job(2, 3, rejects=("1",))
    left = Path(made.out, "painted", made.plan.name(0), "3fa0c1.png")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a picture")
    make_datasets([Work(job=made, models=None, taken_as="", prices=None)], nullcontext, SILENT)
    assert not Path(made.out, "painted").exists()
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 2, 3, rejects=("1",))


def test_models_that_do_not_fit_together_go_in_waves_and_the_bytes_stay(
    tmp_path: Path, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage has processes of its own, and is done only with what the first has not rejected."""
    monkeypatch.setattr(
        engine, "gpu_stages", lambda *given: (Stage(start=0, stop=1, gpus=1.0), Stage(start=1, stop=2, gpus=1.0))
    )
    both = (Paints(log=log, role="style", rejects=("4",)), PaintsAgain(log=log, kills=("7",)))
    made = plan_job(tmp_path / "ray", None, task=_task(5, *both), reader=_reader(10))
    engine.run([made], Watch())
    finish_job(made)
    by_pid: dict[int, set[str]] = {}
    for one in read_log(log):
        by_pid.setdefault(one.pid, set()).add(one.operator)
    assert {len(operators) for operators in by_pid.values()} == {1}
    first, second = (
        Counter(one.what for one in read_log(log) if one.operator == operator)
        for operator in ("paints", "paints_again")
    )
    assert first == Counter(map(str, range(10)))  # not again for what died in the second
    assert set(second) == set(map(str, range(10))) - {"4"}
    assert reasons(made.dataset) == {"4": "ugly", "7": "killed_worker"}

    without = (Paints(log=f"{log}.2", role="style", rejects=("4",)), PaintsAgain(log=f"{log}.2", rejects=("7",)))
    here = make_dataset(tmp_path / "here", None, task=_task(5, *without), reader=_reader(10))
    assert [row["images"] for row in examples(here)] == [row["images"] for row in examples(made.dataset)]


def test_datasets_are_made_together_each_with_its_own_bytes(job: Callable[..., Job], tmp_path: Path, log: str) -> None:
    """One by painters, one in whole units, one on CPUs; a failure of one is no failure of the others."""
    full = tmp_path / "full"
    full.touch()
    painted, whole = job(2, 4), job(2, 4, "whole", gpu_s=0.1)
    failing = job(1, 2, "failing", fails=("0",), full=str(full))
    made: list[tuple[str, int]] = []
    with pytest.raises(engine.UnitFailed, match=failing.plan.name(0)):
        engine.run([painted, whole, failing], Watch(on_made=lambda of, what: made.append((of.out, what.commit.unit))))
    assert sorted(made) == sorted((one.out, unit) for one in (painted, whole) for unit in range(2))
    expected = _undisturbed(tmp_path, 2, 4)
    for one, folder in ((painted, "ray"), (whole, "whole")):
        finish_job(one)
        assert sha256_by_file(tmp_path / folder) == expected


@pytest.mark.parametrize("gpu_s", [60.0, 0.1], ids=["pair by pair", "whole units"])
def test_a_model_that_fails_at_every_pair_is_given_up_and_its_pairs_are_painted_once_it_is_mended(
    job: Callable[..., Job], tmp_path: Path, gpu_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a dataset that is made. What is on its way is forgotten: no pair is rejected for the bug."""
    monkeypatch.setattr(nothing, "ENOUGH", 6)
    wrong = job(3, 4, gpu_s=gpu_s, bugs=tuple(map(str, range(12))))
    well = job(2, 4, "well", gpu_s=gpu_s)
    with pytest.raises(
        nothing.NothingKept, match=r"painted: paints failed in the same way at all of \d+ pairs.*TypeErr"
    ):
        engine.run([wrong, well], Watch())
    assert (wrong.dataset.committed(), well.dataset.committed()) == (set(), {0, 1})
    mended = job(3, 4, gpu_s=gpu_s)
    engine.run([mended], Watch())
    finish_job(mended)
    assert sha256_by_file(tmp_path / "ray") == _undisturbed(tmp_path, 3, 4)


def _undisturbed(tmp_path: Path, units: int, pairs: int, **options: Any) -> dict[str, str]:
    """The files of the same dataset, made unit after unit in this process."""
    task = _task(pairs, Paints(log=str(tmp_path / "undisturbed.log"), **options))
    make_dataset(tmp_path / "undisturbed", None, task=task, reader=_reader(units * pairs))
    return sha256_by_file(tmp_path / "undisturbed")


def _task(pairs: int, *painters: Paints) -> Task:
    return Task(name="painted", chain=(*painters, Instruct(forward=("Go.",))), examples=ONE, pairs_per_shard=pairs)


def _reader(count: int) -> Nothing:
    return Nothing(count=count, with_input=True)
