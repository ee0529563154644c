"""The pose task from end to end, with real BlazePose weights and tiny generators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.browse.server import _Snapshot
from manifests.images.pixels import decode_rgb
from operators.base import Reader
from operators.judge.check_pose import CheckPose
from operators.models import checkpoints
from operators.read.bundled import BundledPhotos
from operators.read.person_prompts import PersonPrompts
from pipelines.tasks.personalisation import POSE
from pipelines.tasks.task import Task
from tests.datasets import reader_of
from tests.generated import generate
from tests.tiny import few_steps, tiny_models


def test_the_chain_runs_and_rejects_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random generators draw nobody: all is rejected by the last gate, with its score."""
    few_steps(monkeypatch)
    out = _make(POSE, _crops(), tmp_path)
    rejects = pq.read_table(out / "rejects").to_pylist()
    assert len(rejects) == 2
    assert {(row["operator"], row["reason"]) for row in rejects} == {("check_pose", "nobody_made")}
    assert all(dict(row["scores"]) == {"oks": 0} for row in rejects)


def test_a_row_names_every_model_and_the_browse_page_has_the_pose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(monkeypatch)
    out = _make(POSE.keeping_all(), _crops(), tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 2
    for row in rows:
        assert (row["direction"], row["kind"], row["inputs"], row["output"]) == (
            "forward",
            "generate",
            ["input"],
            "target",
        )
        assert row["context_pair"]
        assert {step["model"] for step in row["steps"]} == {None, "blazepose", "sd15", "sd15-controlnet-openpose"}
        assert all(step["model_revision"] for step in row["steps"] if step["model"])
        prompt = next(step["prompt"] for step in row["steps"] if step["prompt"])
        assert prompt.removeprefix("a photo of ") in row["instruction"]
        assert dict(row["scores"])["oks"] == 0
        found = _Snapshot(str(tmp_path)).image(row["pair"], "pose")
        assert found and decode_rgb(found[1]).any()


def test_by_dwpose_both_poses_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tiny detector takes what is colourful for a person, also what random generators draw."""
    few_steps(monkeypatch)
    models = tiny_models("dwpose", "sd15", "sd15-controlnet-openpose")
    out = generate(POSE.with_options({"estimator": "dwpose"}).keeping_all(), _crops(), models, tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 2
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


def _crops() -> Reader:
    reader = reader_of(POSE, None)
    assert isinstance(reader, BundledPhotos)
    return replace(reader, crops_per_photo=2)


def _make(task: Task, reader: Reader, tmp_path: Path) -> Path:
    return generate(task, reader, tiny_models("blazepose", "sd15", "sd15-controlnet-openpose"), tmp_path)
