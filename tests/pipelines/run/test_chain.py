"""Batched operators in a chain: order, seeds, culprits, and the same bytes whatever the size of the batches."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import ray._raylet
import torch

from manifests.schema import Pair, Reject
from operators.base import BatchOperator, StopRun
from operators.degrade.rain import Rain
from pipelines.report.progress import step_lines
from pipelines.run.chain import batch_size
from pipelines.run.plan import make_job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.task import Task
from tests.datasets import examples, make_dataset, plan_job, reasons, rejects, sha256_by_file
from tests.sources import write_photos

_batches: list[list[str]] = []


@dataclass(frozen=True, kw_only=True)
class Rains:
    """Rain, some pairs at a time, as `rain`. Refuses, and goes wrong at, the pairs of those references."""

    name: ClassVar[str] = "rain"
    version: ClassVar[int] = 1
    batch_size: int = field(default=4, metadata={"location": True})
    refused: str = ""
    wrong: str = ""
    error: type[Exception] = field(default=ZeroDivisionError, metadata={"location": True})

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        _batches.append([pair.source_ref for pair in pairs])
        if any(pair.source_ref == self.wrong for pair in pairs):
            raise self.error("no rain today")
        return [
            Reject("refused", "not this one") if pair.source_ref == self.refused else Rain()(pair, seed)
            for pair, seed in zip(pairs, seeds, strict=True)
        ]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("chain") / "photos", 11)


@pytest.fixture(autouse=True)
def _forget_batches() -> None:
    _batches.clear()


def _raining(operator: Rains) -> Task:
    return DERAIN.changed(lambda link: operator if isinstance(link, Rain) else link)


def test_the_type_is_recognised_and_the_size_is_that_of_the_largest() -> None:
    assert isinstance(Rains(), BatchOperator) and not isinstance(Rain(), BatchOperator)
    assert batch_size([Rain(), Rains(batch_size=3), Rains(batch_size=5)]) == 5
    assert batch_size([Rain()]) == 1


def test_the_bytes_do_not_depend_on_the_batches(photos: Path, tmp_path: Path) -> None:
    """Nor does the fingerprint: the same folder takes up a run with another size."""
    made = {}
    for size in (1, 4, 64):
        _batches.clear()
        make_dataset(tmp_path / str(size), photos, task=_raining(Rains(batch_size=size)))
        made[size] = sha256_by_file(tmp_path / str(size) / "derain")
        assert [len(batch) for batch in _batches] == {1: [1] * 11, 4: [4, 4, 3], 64: [11]}[size]
    assert made[1] == made[4] == made[64]
    one_by_one = make_dataset(tmp_path / "plain", photos)
    with_many = plan_job(tmp_path / "4", photos, task=_raining(Rains())).dataset
    assert [row["images"] for row in examples(one_by_one)] == [row["images"] for row in examples(with_many)]


def test_a_reject_and_a_culprit_cost_nobody_else(photos: Path, tmp_path: Path) -> None:
    operator = Rains(refused="0003.jpg", wrong="0007.jpg")
    dataset = make_dataset(tmp_path, photos, task=_raining(operator))
    assert reasons(dataset) == {"0003.jpg": "refused", "0007.jpg": "error"}
    assert {row["operator"] for row in rejects(dataset)} == {"rain"}
    assert len({row["pair"] for row in examples(dataset)}) == 9
    (batch,) = (batch for batch in _batches if "0007.jpg" in batch and len(batch) > 1)
    assert [[ref] for ref in batch] == [small for small in _batches if len(small) == 1]


@pytest.mark.parametrize("error", [OSError, MemoryError, StopRun])
def test_the_machines_fault_ends_the_unit_and_is_not_tried_pair_by_pair(
    error: type[Exception], photos: Path, tmp_path: Path
) -> None:
    job = plan_job(tmp_path, photos, task=_raining(Rains(wrong="0002.jpg", error=error)))
    with pytest.raises(error, match="no rain today"):
        make_unit(job, 0, Spent())
    assert min(map(len, _batches)) > 1
    assert job.dataset.committed() == set()


def test_a_lost_gpu_ends_the_unit_and_memory_that_runs_out_does_not(photos: Path, tmp_path: Path) -> None:
    lost = plan_job(tmp_path / "lost", photos, task=_raining(Rains(wrong="0002.jpg", error=torch.AcceleratorError)))
    with pytest.raises(OSError, match=r"^the GPU has failed: no rain today$"):
        make_unit(lost, 0, Spent())
    assert lost.dataset.committed() == set()
    full = _raining(Rains(wrong="0002.jpg", error=torch.OutOfMemoryError))
    assert reasons(make_dataset(tmp_path / "full", photos, task=full)) == {"0002.jpg": "out_of_memory"}


@dataclass(frozen=True, kw_only=True)
class Forgets:
    """An operator without a `return`."""

    name: ClassVar[str] = "forgets"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        return None  # type: ignore[return-value]


def test_what_is_no_pair_is_the_operators_error_and_named(photos: Path, tmp_path: Path) -> None:
    job = plan_job(tmp_path, photos, task=replace(DERAIN, chain=(Forgets(), *DERAIN.chain)))
    assert make_unit(job, 0, Spent()).rejects == {"error": 11}
    said = {(row["operator"], row["message"]) for row in rejects(job.dataset)}
    assert said == {("forgets", "TypeError: forgets gave None, where a pair or a Reject is wanted")}


@dataclass(frozen=True, kw_only=True)
class Exits:
    """An operator that calls what was written for a command line; `told` as Ray ends a worker in the midst of one."""

    name: ClassVar[str] = "exits"
    version: ClassVar[int] = 1
    told: bool = False

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if self.told:
            end: Any = vars(ray._raylet)["raise_sys_exit_with_custom_error_message"]  # a stub does not know of it
            end("The process receives a SIGTERM.", exit_code=1)
        sys.exit(3)


def test_an_exit_is_the_operators_error_unless_it_is_rays(photos: Path, tmp_path: Path) -> None:
    job = plan_job(tmp_path / "own", photos, task=replace(DERAIN, chain=(Exits(), *DERAIN.chain)))
    assert make_unit(job, 0, Spent()).rejects == {"error": 11}
    assert {(row["operator"], row["message"]) for row in rejects(job.dataset)} == {("exits", "SystemExit: 3")}
    told = plan_job(tmp_path / "ray", photos, task=replace(DERAIN, chain=(Exits(told=True), *DERAIN.chain)))
    with pytest.raises(SystemExit):
        make_unit(told, 0, Spent())


def test_records_in_records_count_without_their_places(photos: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Model:
        revision: str
        folder: str = field(default="", metadata={"location": True})

    @dataclass(frozen=True, kw_only=True)
    class Asks(Rains):
        model: Model

    def fingerprint(name: str, model: Model) -> str:
        job = plan_job(tmp_path / name, photos, task=_raining(Asks(model=model)))
        return make_job(job.task, job.reader, job.out, 0).plan.fingerprint

    first = fingerprint("1", Model(revision="a", folder="/here"))
    assert first == fingerprint("2", Model(revision="a", folder="/there"))
    assert first != fingerprint("3", Model(revision="b", folder="/here"))


def test_what_each_step_costs_is_counted_and_adds_up(photos: Path, tmp_path: Path) -> None:
    spent = Spent()
    job = plan_job(tmp_path, photos, task=_raining(Rains(batch_size=4, wrong="0007.jpg")))
    make_unit(job, 0, spent)
    assert (spent.items["read"], spent.items[Rains.name], spent.items["gate"]) == (11, 11, 10)
    assert (spent.batches["read"], spent.batches[Rains.name], spent.batches["gate"]) == (3, 3, 10)
    assert 0 < sum(spent.seconds.values()) < spent.units_s
    assert list(spent.seconds)[:3] == ["read", Rains.name, "gate"]


def test_a_run_whose_units_all_came_from_dead_workers_has_no_steps_to_report() -> None:
    assert list(step_lines(Spent())) == []


def test_the_report_says_where_the_workers_time_went() -> None:
    spent, other = Spent(units_s=6.0), Spent(units_s=2.0)
    for part, seconds in ((spent, 4.0), (other, 2.0)):
        part.items["paint"], part.batches["paint"], part.seconds["paint"] = 6, 2, seconds
        part.places["paint"], part.own["paint"] = 8, 6
    spent.add(other)
    assert list(step_lines(spent)) == [
        " 75% paint: one worker does 2.0 a second, 3.0 in a batch, batches of its models 75% full",
        " 25% choosing contexts, hashing and writing",
    ]
