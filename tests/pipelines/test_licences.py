"""--allow-licence: every record of ours has terms, and what is not allowed is refused before anything is spent."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

import operators.judge
from manifests.licences.effective import JUDGES, named, of_model
from manifests.licences.records import LICENCES, MODELS, SOURCES, UNKNOWN
from manifests.schema import Pair
from operators.base import Reader
from operators.judge.allowed_licences import AllowedLicences
from operators.models.table import CHECKPOINTS
from operators.read.bundled import BundledPhotos
from pipelines.entries import DataRoot, plan_entry
from pipelines.prepare import prepare
from pipelines.recipe import Entry
from pipelines.tasks.catalogue import OUR_TASKS
from tests.datasets import make_dataset, reasons
from tests.sources import write_files, write_photos


def _readers() -> Iterator[Reader]:
    for task in OUR_TASKS.values():
        yield from task.readers()
        for source in task.sources:
            yield from (one.reader for name in source.splits if (one := source.of(name)))


def test_every_source_of_ours_has_a_record() -> None:
    without = {reader.source: reader.licence for reader in _readers() if UNKNOWN in named(reader.licence)}
    assert without == {"own pairs": "unknown"}  # of which the user says it
    sources = {reader.source for reader in _readers()}
    assert [name for name in SOURCES if name not in sources] == []


def test_every_model_of_ours_has_a_record_by_role_and_by_hub_id() -> None:
    for role, checkpoint in CHECKPOINTS.items():
        assert of_model(role) in LICENCES
        assert named(checkpoint.licence) == (of_model(role),)
        assert checkpoint.outputs.endswith(LICENCES[of_model(role if role != "sd15-tryon" else "sd15")].outputs)
        assert not checkpoint.hub_id or of_model(checkpoint.hub_id) == of_model(role)
    assert {*MODELS} == {*CHECKPOINTS, *(one.hub_id for one in CHECKPOINTS.values() if one.hub_id)}


def test_judges_are_the_operators_that_judge() -> None:
    names = set()
    for module in pkgutil.iter_modules(operators.judge.__path__):
        loaded = importlib.import_module(f"operators.judge.{module.name}")
        kinds = (
            kind for kind in vars(loaded).values() if isinstance(kind, type) and kind.__module__ == loaded.__name__
        )
        names |= {name for kind in kinds if isinstance(name := getattr(kind, "name", None), str)}
    assert names == JUDGES


def _gopro(root: Path) -> Path:
    return write_files(root, {f"train/a/{side}/{name}.png": b"x" for side in ("blur", "sharp") for name in "12"})


def test_a_policy_that_leaves_nothing_out_changes_nothing(tmp_path: Path) -> None:
    data = _gopro(tmp_path)
    bare = prepare("deblur", {"data": data})
    for asked in ("commercial", ["commercial"], ["research", "MIT"]):
        assert prepare("deblur", {"data": data, "allow_licence": asked}).task == bare.task


@pytest.mark.parametrize(
    ("task", "options", "asked", "told"),
    [
        ("derain", {"data": "photos"}, ["commercial"], "LicenseRef-owner of photos (commercial: not stated"),
        ("derain", {"data": "photos"}, ["MIT"], "LicenseRef-owner of photos"),
        ("style", {"models": "tiny"}, ["commercial"], "LicenseRef-FLUX.1-dev"),
        (
            "pose",
            {"models": "tiny", "count": 4, "generator": "flux"},
            ["commercial"],
            "LicenseRef-FLUX.1-dev of flux (",
        ),
        ("depth2img", {"data": "photos"}, ["LicenseRef-owner"], "Apache-2.0 of depth-anything"),
        (
            "derain",
            {"vlm": "http://host/v1", "vlm_model": "gpt-4o"},
            ["commercial"],
            "LicenseRef-OpenAI-outputs of gpt",
        ),
        ("derain", {"vlm": "http://host/v1", "vlm_model": "my"}, ["commercial"], "unknown of my (a licence without"),
        ("derain", {}, ["comercial"], "comercial is no licence with a record: did you mean commercial?"),
        ("derain", {}, "", "is no licence with a record"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(
    tmp_path: Path, task: str, options: dict[str, Any], asked: list[str] | str, told: str
) -> None:
    write_photos(tmp_path / "photos", 2)
    given = {**options, **({"data": tmp_path / "photos"} if "data" in options else {})}
    asked = [asked] if asked == "" else asked
    with pytest.raises(ValueError, match=r".") as caught:
        prepare(task, {**given, "allow_licence": asked})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_allowed_by_name_is_made(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    prepare("derain", {"data": tmp_path / "photos", "allow_licence": ["commercial", "LicenseRef-owner"]})
    prepare("derain", {"allow_licence": ["research"], "vlm": "http://host/v1", "vlm_model": "gpt-4o"})


def test_rows_of_a_table_are_judged_by_its_column_of_licences(tmp_path: Path) -> None:
    write_photos(tmp_path, 4)
    names = sorted(path.name for path in tmp_path.iterdir())
    licences = ["cc-by-4.0", "cc-by-nc-4.0", "", "MIT"]
    rows = [{"a": name, "b": name, "c": "Do.", "d": said} for name, said in zip(names, licences, strict=True)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["input=a", "target=b", "instruction=c"]
    given = {"data": tmp_path / "rows.jsonl", "allow_licence": "commercial"}
    prepared = prepare("pairs", {**given, "columns": [*columns, "licence=d"]})
    judge = prepared.task.chain[0]
    assert isinstance(judge, AllowedLicences)
    assert {"CC-BY-4.0", "MIT"} <= {*judge.allowed}
    with pytest.raises(ValueError, match="unknown of own pairs"):
        prepare("pairs", {**given, "columns": columns})
    assert prepare("pairs", {**given, "columns": columns, "licence": "MIT"}).reader.licence == "MIT"


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """An operator of a user's that runs a model and does not say which."""

    name: ClassVar[str] = "stamp"
    version: ClassVar[int] = 1
    gpus: ClassVar[float] = 0.0
    gpu_s: ClassVar[float] = 0.0

    def bound(self, models: str | None) -> Self:
        return self

    def __call__(self, pair: Pair, seed: int) -> Pair:
        return pair


def test_an_operator_that_does_not_say_what_it_loads_is_not_allowed() -> None:
    task = replace(OUR_TASKS["derain"], chain=(*OUR_TASKS["derain"].chain, Stamp()))
    with pytest.raises(ValueError, match="unknown of the operator stamp, which does not say what it loads"):
        prepare(task, {"allow_licence": ["commercial"]})


def test_of_a_recipe_the_entry_is_left_out_and_the_others_are_made(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    _gopro(tmp_path / "GoPro")
    root, shared = DataRoot(url=str(tmp_path)), {"allow_licence": ["commercial"]}
    left, made = (
        plan_entry(entry, OUR_TASKS[entry.task], root, shared)
        for entry in (Entry(task="derain", data=("photos",)), Entry(task="deblur"))
    )
    assert made.prepared
    assert not left.prepared and "derain: --allow-licence commercial does not allow LicenseRef-owner" in left.why_not


def test_rows_are_judged_where_each_has_a_licence_of_its_own(tmp_path: Path) -> None:
    prepared = prepare("derain", {"allow_licence": ["CC0-1.0"]})
    assert isinstance(prepared.task.chain[0], AllowedLicences)
    assert isinstance(prepared.reader, BundledPhotos)
    few = replace(prepared.reader, crops_per_photo=1, side_px=64)
    dataset = make_dataset(tmp_path, None, task=prepared.task, reader=few)
    assert {row["licence"] for row in dataset.rows(["licence"])} == {"CC0-1.0"}
    others = {"skimage/data/astronaut.png", "skimage/data/rocket.jpg"}  # public domain
    others |= {f"sklearn/datasets/images/{name}.jpg" for name in ("china", "flower")}  # CC-BY-2.0
    assert {ref for ref, reason in reasons(dataset).items() if reason == "licence"} == {f"{name}#0" for name in others}
    card = dataset.store.read("README.md").decode()
    assert "| **all of them together** | yes | yes | yes | yes | no | no |" in card
    assert "| licence | 4 |" in card  # of what was rejected
