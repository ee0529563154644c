"""Runs that keep nothing: when a dataset is given up, and what a user is told of one that is empty."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from manifests.schema import Pair, Reject
from manifests.write.finish import Totals, sum_commits
from operators.base import Operator
from operators.degrade.rain import Rain
from pipelines import make
from pipelines.run import engine, nothing
from pipelines.run.chain import Rejected
from pipelines.run.nothing import ENOUGH, KeepsNothing, NothingKept, Trial, given_up, refuse_empty, told_of_errors
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.run.watch import Watch
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.task import Task
from tests.datasets import finish_job, make_dataset, plan_job, reasons, sha256_by_file
from tests.sources import write_photos

PHOTOS = 40  # two shards of twenty

NAMES = "NameError: name 'rian' is not defined"


@dataclass(frozen=True, kw_only=True)
class HasABug:
    """Fails at the pairs `refs`, or at all of them if it names none, as a misspelled name does, until it is mended."""

    name: ClassVar[str] = "has_a_bug"
    version: ClassVar[int] = 1
    refs: tuple[str, ...] = ()
    mended: str = field(default="", metadata={"location": True})
    """The file whose being there mends it."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if (pair.source_ref in self.refs or not self.refs) and not os.path.exists(self.mended):
            return rian(pair)  # type: ignore[name-defined, no-any-return] # noqa: F821
        return Rain()(pair, seed)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("nothing") / "photos", PHOTOS)


def test_fifty_pairs_at_which_a_step_fails_in_one_way_are_enough_however_they_came() -> None:
    one = _trial([_error(NAMES)] * (ENOUGH - 1))
    assert one.hopeless is None
    one.merge(pickle.loads(pickle.dumps(_trial([_error(NAMES)]))))
    assert one.hopeless and (one.hopeless.step, one.hopeless.kind, one.hopeless.pairs) == ("bug", "NameError", 50)


def test_a_pair_that_is_kept_clears_the_step() -> None:
    pair = Pair(key="0" * 32, source="s", source_ref="r", licence="l", images=(), group="g")
    failing = [_error(NAMES)] * ENOUGH
    assert _trial(failing).hopeless and not _trial([*failing, pair]).hopeless


@pytest.mark.parametrize(
    "rejected",
    [
        [Rejected(step="gate", reject=Reject("identical_pair", "no change"))] * 200,  # each was looked at
        [Rejected(step="read", reject=Reject("damaged", "cut short"))] * 200,
        [
            *[Rejected(step="a", reject=Reject("error", NAMES))] * 30,
            *[Rejected(step="b", reject=Reject("error", "x"))] * 30,
        ],
    ],
    ids=["judged", "damaged", "two steps"],
)
def test_pairs_that_are_rejected_for_what_they_are_give_nothing_up(rejected: list[Rejected]) -> None:
    trial = _trial(rejected)
    assert (trial.hopeless, trial.only) == (None, None)


@pytest.mark.parametrize("reason", ["unparsed", "refused", "truncated_answer", "no_answer", "not_finite"])
def test_a_model_that_never_answers_as_asked_fails_like_a_bug(reason: str, photos: Path, tmp_path: Path) -> None:
    broken = Rejected(step="difference", reject=Reject(reason, '{"broken: \x1b[2J\u202e'))
    failure = _trial([broken] * ENOUGH).hopeless
    assert failure and failure.kind == reason
    said = str(given_up(plan_job(tmp_path, photos), failure))
    assert said.isprintable() and "difference failed in the same way at all of 50 pairs" in said
    assert ("to ask this one again, remove" in said) == (reason in ("unparsed", "refused", "truncated_answer"))


def test_a_unit_of_a_dataset_that_keeps_nothing_so_far_is_not_committed(photos: Path, tmp_path: Path) -> None:
    job = plan_job(tmp_path, photos, task=_raining(HasABug()))
    with pytest.raises(KeepsNothing) as caught:
        make_unit(job, 0, Spent(), unproven=True)
    assert caught.value.trial.only and caught.value.trial.only.pairs == 20
    left = {path.name for path in (tmp_path / "derain").rglob("*") if path.is_file()}
    assert left == {"plan.parquet", "seen.parquet"}
    assert make_unit(job, 0, Spent()).rejects == {"error": 20}  # where others are kept


def test_a_unit_is_broken_off_when_enough_is_seen(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nothing, "ENOUGH", 7)
    job = plan_job(tmp_path, photos, task=_raining(HasABug()))
    with pytest.raises(KeepsNothing) as caught:
        make_unit(job, 0, Spent(), unproven=True)
    assert caught.value.trial.hopeless and caught.value.trial.hopeless.pairs == 7


@pytest.mark.usefixtures("local_ray")
def test_a_bug_ends_its_dataset_and_no_other_and_once_mended_the_same_run_makes_it(
    photos: Path, tmp_path: Path
) -> None:
    """All forty items together are fewer than fifty: what fails at each of them is a bug all the same."""
    mended = tmp_path / "mended"
    wrong = plan_job(tmp_path / "wrong", photos, task=_raining(HasABug(mended=str(mended))))
    right = plan_job(tmp_path / "right", photos)
    with pytest.raises(NothingKept) as caught:
        engine.run([wrong, right], Watch())
    assert str(caught.value) == (
        f"derain: has_a_bug failed in the same way at all of 40 pairs, and nothing was kept: {NAMES}. None of them is "
        "stored as a reject: mend that, and the same command makes them"
    )
    assert (wrong.dataset.committed(), right.dataset.committed()) == (set(), {0, 1})
    mended.touch()
    engine.run([wrong], Watch())
    assert [commit.pairs for _, commit in wrong.dataset.commits()] == [20, 20]


@pytest.mark.usefixtures("local_ray")
def test_a_unit_that_fails_as_a_whole_beside_one_that_is_kept_becomes_rejects(photos: Path, tmp_path: Path) -> None:
    plan = plan_job(tmp_path / "plan", photos)
    refs = tuple(item.ref for item in plan.dataset.unit(plan.plan, 0).items)
    task = _raining(HasABug(refs=refs))
    job = plan_job(tmp_path / "ray", photos, task=task)
    engine.run([job], Watch())
    finish_job(job)
    assert reasons(job.dataset) == dict.fromkeys(refs, "error")
    assert told_of_errors(job, sum_commits(job.dataset)) == (
        f"derain: at 20 of 40 items a step failed, first by has_a_bug ({NAMES}): if that is a bug, mend it, remove "
        "that dataset and make it anew"
    )
    make_dataset(tmp_path / "here", photos, task=task)
    assert sha256_by_file(tmp_path / "ray") == sha256_by_file(tmp_path / "here")


def test_a_dataset_of_rejects_is_a_failure_with_the_commonest_reason(tmp_path: Path) -> None:
    files = {f"{number}.jpg": b"\xff\xd8\xff" for number in range(2)} | {"big.jpg": b"GIF89a"}
    for name, data in files.items():
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(data)
    make_dataset(tmp_path / "out", tmp_path / "photos")
    for _ in range(2):  # and so it stays: Ray is not started, nothing is left to do
        with pytest.raises(NothingKept, match=r"derain: nothing was kept, of 3 rejected items \d were \w+ by"):
            make("derain", data=tmp_path / "photos", out=tmp_path / "out")


def test_what_a_recipe_holds_out_on_purpose_is_no_failure(photos: Path, tmp_path: Path) -> None:
    job = plan_job(tmp_path, photos)
    make_unit(job, 0, Spent())
    for rejects, refused in (({"held_out": 3}, False), ({"held_out": 3, "damaged": 1}, True)):
        totals = Totals()
        totals.rejects.update(rejects)
        if refused:
            with pytest.raises(NothingKept, match="of 4 rejected items 3 were held_out"):
                refuse_empty(job, totals, held_out=True)
        else:
            refuse_empty(job, totals, held_out=True)
            with pytest.raises(NothingKept):
                refuse_empty(job, totals)


def _raining(operator: Operator) -> Task:
    return DERAIN.changed(lambda link: operator if isinstance(link, Rain) else link)


def _error(message: str) -> Rejected:
    return Rejected(step="bug", reject=Reject("error", message))


def _trial(made: Sequence[Pair | Rejected]) -> Trial:
    return Trial.of(made)
