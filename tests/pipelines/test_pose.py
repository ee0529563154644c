"""The pose task from end to end, with real BlazePose weights and tiny generators."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.browse.snapshot import Snapshot
from manifests.images.pixels import decode_rgb
from manifests.read.pairs import StoredPair
from manifests.schema import Pair
from manifests.verify.dataset import verify
from operators.base import Reader
from operators.judge.check_pose import CheckPose
from operators.models import checkpoints
from operators.paint.make_person import MakePerson
from operators.read.bundled import BundledPhotos
from operators.read.person_prompts import PersonPrompts
from operators.read.pose_groups import PoseGroups
from pipelines.run.chain import make_pairs
from pipelines.run.spent import Spent
from pipelines.tasks.personalisation import POSE
from pipelines.tasks.task import Task
from tests.datasets import examples, nearest, reader_of, reasons, totals
from tests.generated import generate
from tests.persons import make_persons
from tests.tiny import few_steps, tiny_models


def test_the_chain_runs_and_rejects_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random generators draw nobody: all is rejected by the last gate, with its score."""
    few_steps(monkeypatch)
    out = _make(POSE, _crops(), tmp_path)
    rejects = pq.read_table(out / "rejects").to_pylist()
    assert len(rejects) == 4
    assert {(row["operator"], row["reason"]) for row in rejects} == {("check_pose", "nobody_made")}
    assert all(dict(row["scores"]) == {"oks": 0} for row in rejects)


def test_a_row_names_every_model_and_the_browse_page_has_the_pose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(monkeypatch)
    out = _make(POSE.keeping_all(), _crops(), tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert (row["direction"], row["kind"], row["inputs"], row["output"]) == ("forward", "generate", [], "target")
        assert nearest(row)["pair"] and nearest(row)["pair"] != row["pair"]
        assert {step["model"] for step in row["steps"]} == {None, "blazepose", "sd15", "sd15-controlnet-openpose"}
        assert all(step["model_revision"] for step in row["steps"] if step["model"])
        prompt = next(step["prompt"] for step in row["steps"] if step["prompt"])
        assert prompt.removeprefix("a photo of ") in row["instruction"]
        assert dict(row["scores"])["oks"] == 0
        place = Snapshot(str(tmp_path)).place(row["pair"], "pose")
        assert place
        with place.shown() as shown:
            assert decode_rgb(shown.body).any()


def test_by_dwpose_both_poses_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tiny detector takes what is colourful for a person, also what random generators draw."""
    few_steps(monkeypatch)
    models = tiny_models("dwpose", "sd15", "sd15-controlnet-openpose")
    out = generate(POSE.with_options({"estimator": "dwpose"}).keeping_all(), _crops(), models, tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert {step["model"] for step in row["steps"]} == {None, "dwpose", "sd15", "sd15-controlnet-openpose"}
        assert dict(row["scores"])["pose_keypoints"] >= 6


def test_from_prompts_nobody_is_found_in_what_a_random_model_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(monkeypatch)
    out = _make(POSE, PersonPrompts(count=2), tmp_path)
    rejects = pq.read_table(out / "rejects").to_pylist()
    assert [(row["operator"], row["reason"]) for row in rejects] == [("estimate_pose", "no_person")] * 2


def test_only_what_random_weights_score_is_kept_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_models("blazepose", "sd15", "sd15-controlnet-openpose")
    monkeypatch.setattr(checkpoints, "TINY", Path(folder))
    kept, judged = (
        next(link for link in POSE.bound(models).chain if isinstance(link, CheckPose)) for models in ("tiny", folder)
    )
    assert kept.min_oks == 0 < judged.min_oks


def test_what_is_asked_for_comes_from_words_and_the_context_is_two_persons_in_its_pose(tmp_path: Path) -> None:
    """Paper section 4.5: two images of persons in one pose in context, a description and a new image of a third."""
    dataset = make_persons(tmp_path, 16, lost=("000005",))
    assert [finding.message for finding in verify(dataset.url)] == []
    pairs = {pair.key: pair for pair in dataset.pairs()}
    assert len(pairs) == 15
    for pair in pairs.values():
        (example,) = pair.examples
        assert (example.direction, example.kind, example.inputs, example.output) == (
            "forward",
            "generate",
            (),
            "target",
        )
        context = example.context()
        assert context and context.inputs == ("input",) and context.output == "target"
        first, second, asked = context.pair.image("input"), context.pair.image("target"), pair.image("target")
        # Three persons, who are all different, of one pose: the first of the group and two that were painted.
        recorded, other = (_params(one) for one in (pair, context.pair))
        assert recorded["action"] == other["action"] and recorded["first_person"] == other["first_person"]
        assert len({recorded["first_person"], recorded["person"], other["person"]}) == 3
        assert recorded["person"] in example.instruction
        number, there = (int(one.record["source_ref"]) for one in (pair, context.pair))
        assert number // 4 == there // 4 and number != there
        assert not np.array_equal(second, asked) and not np.array_equal(first, asked)
        assert np.array_equal(first, pair.image("input"))
    item = dataset.to_torch()[0]
    assert item["inputs"] == [] and len(item["context"]["inputs"]) == 1


def test_groups_of_fewer_than_three_persons_are_rejected_and_counted(tmp_path: Path) -> None:
    # Of the first pose one painted person is left, of the second two, of the third none, of the fourth all.
    lost = ("000000", "000001", "000003", "000004", "000007", *(f"{number:06d}" for number in range(8, 12)))
    dataset = make_persons(tmp_path, 16, lost)
    assert sorted(row["source_ref"] for row in examples(dataset)) == [
        "000005",
        "000006",
        *(f"{number:06d}" for number in range(12, 16)),
    ]
    assert all(nearest(row)["pair"] for row in examples(dataset))
    counted = totals(dataset)
    assert (counted["rejects_by_reason"], counted["examples_without_context"]) == (
        {"other_pose": 9, "small_group": 1},
        0,
    )
    assert reasons(dataset)["000002"] == "small_group"


def test_the_first_person_is_painted_alike_for_a_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    models = tiny_models("sd15")
    reader = PersonPrompts(count=8)
    made = make_pairs(reader, "pose", 3, [*reader.items(())], [MakePerson().bound(models)], Spent())
    persons = [pair.images[0].data for pair in made if isinstance(pair, Pair)]
    assert len(persons) == 8
    assert len({*persons[:4]}) == len({*persons[4:]}) == 1 and persons[0] != persons[4]
    again = make_pairs(reader, "pose", 4, [next(reader.items(()))], [MakePerson().bound(models)], Spent())
    assert isinstance(again[0], Pair) and again[0].images[0].data != persons[0]


def _params(pair: StoredPair) -> dict[str, Any]:
    (step,) = (step for step in pair.record["steps"] if step["operator"] == "person_prompts")
    found: dict[str, Any] = json.loads(step["params"])
    return found


def _crops() -> Reader:
    """One crop, for four persons."""
    reader = reader_of(POSE, None)
    assert isinstance(reader, PoseGroups) and isinstance(reader.photos, BundledPhotos)
    return replace(reader, photos=replace(reader.photos, crops_per_photo=1))


def _make(task: Task, reader: Reader, tmp_path: Path) -> Path:
    return generate(task, reader, tiny_models("blazepose", "sd15", "sd15-controlnet-openpose"), tmp_path)
