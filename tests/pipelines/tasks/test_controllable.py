"""Controllable generation from any photos, and from datasets that have annotations of their own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.verify.dataset import verify
from operators.arrange.swap import Swap
from pipelines.entries import DataRoot, plan_entry
from pipelines.full_8m import main
from pipelines.prepare import prepare
from pipelines.recipe import FULL_8M, PAPER
from pipelines.run.plan import cut_units, make_job, versions
from pipelines.tasks.catalogue import OUR_TASKS
from tests.datasets import examples, image, make_dataset, stored_bytes
from tests.fixtures import FIXTURES, write_laion
from tests.readers import read_all
from tests.sources import write_files, write_photos
from tests.tiny import tiny_models

ANNOTATED = {
    "depth2img": ("nyu_sync", "depth-anything", "depth_map"),
    "seg2img": ("ade20k", "segformer-ade20k", "label_map"),
    "normal2img": ("scannet", "marigold-normals", "normal_map"),
}
"""Task -> a layout that has its annotations, the checkpoint that finds them in photos, and the operator."""


@pytest.mark.parametrize("name", ANNOTATED)
def test_annotated_pairs_need_no_model_and_are_made_as_before(name: str, tmp_path: Path) -> None:
    """Nothing of what annotates photos is in their fingerprint, and nothing of it is looked for."""
    layout, _, operator = ANNOTATED[name]
    FIXTURES[layout][1](tmp_path / "source")
    for models in (None, str(tmp_path / "nowhere")):
        prepared = prepare(name, {"data": str(tmp_path / "source"), "models": models})
        task, reader = prepared.task, prepared.reader
        assert task.gpus is None and "torch" not in versions(task)
        job = make_job(task, reader, str(tmp_path / "out"), 0)
        operators = job.plan.config["operators"]
        assert [one["name"] for one in operators] == ["colour_dense", "swap", "instruct"]
        assert operators[2]["with_caption"] is False
    assert not OUR_TASKS[name].runs_models(named=False) and OUR_TASKS[name].runs_models(named=True)
    assert operator in [link.name for link in OUR_TASKS[name].chain]


def test_edges_are_always_found_by_a_model() -> None:
    for name in ("hed2img", "mlsd2img"):
        assert OUR_TASKS[name].runs_models(named=False)
    assert not OUR_TASKS["derain"].runs_models(named=True)


@pytest.mark.parametrize("name", ANNOTATED)
def test_photos_with_captions_become_pairs_that_a_model_annotates(name: str, tmp_path: Path) -> None:
    _, role, operator = ANNOTATED[name]
    write_laion(tmp_path / "source")
    prepared = prepare(name, {"data": str(tmp_path / "source"), "models": tiny_models(role)})
    assert prepared.task.gpus == 0.25 and "torch" in versions(prepared.task)
    dataset = make_dataset(tmp_path / "out", None, task=prepared.task, reader=prepared.reader)
    assert [finding.message for finding in verify(str(tmp_path / "out" / name))] == []
    rows = [row for row in examples(dataset) if row["kind"] == "generate"]
    captions = {pair.source_ref: pair.texts["caption"] for pair in read_all(prepared.reader)[0]}
    assert len({row["pair"] for row in rows}) == len(captions) > 3
    for row in rows:
        assert [step["operator"] for step in row["steps"]] == [operator, "colour_dense", "swap", "instruct"]
        photo = stored_bytes(dataset, row, "target")
        assert image(row, "input")["format"] == "png"
        assert photo[:2] == b"\xff\xd8"  # a JPEG, as it was downloaded
        assert row["instruction"].endswith(captions[row["source_ref"]]) == (row["direction"] == "forward")


@pytest.mark.parametrize("name", ANNOTATED)
def test_photos_need_the_model_and_one_line_says_so(name: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    with pytest.raises(ValueError, match=rf"^{ANNOTATED[name][1]} \(.*it is needed by {name}$"):
        prepare(name, {"data": str(tmp_path / "photos")})
    prepared = prepare(name, {"data": str(tmp_path / "photos"), "models": tiny_models(ANNOTATED[name][1])})
    assert prepared.reader.source == "photos"
    assert any(isinstance(link, Swap) for link in prepared.task.chain)


def test_the_papers_recipe_reaches_100_000_pairs_of_each_from_laion(tmp_path: Path) -> None:
    """Of the 500,000 images that the paper has of it; no two tasks have an image in common."""
    models = tiny_models("hed", *(role for _, role, _ in ANNOTATED.values()))
    write_laion(tmp_path / "LAION-Aesthetics")
    root = DataRoot(url=str(tmp_path))
    images: Any = range(500_000)
    taken: dict[str, set[Any]] = {}
    for entry in FULL_8M:
        if entry.task not in ("hed2img", "mlsd2img", "mimicbrush", *ANNOTATED):
            continue
        planned = plan_entry(entry, OUR_TASKS[entry.task], root, {"models": models})
        assert planned.prepared and planned.place.endswith("LAION-Aesthetics"), planned.why_not
        contiguous = planned.prepared.reader.contiguous
        units = cut_units(images, 0, 10_000, contiguous=contiguous, count=planned.count, skip=entry.skip)
        taken[entry.task] = {image for unit in units for image in unit}
    assert len(taken.pop("normal2img")) == 100_000  # any: they are ScanNet's, where that is there
    assert {name: len(refs) for name, refs in taken.items()} == {
        "hed2img": 100_000,
        "mlsd2img": 100_000,
        "mimicbrush": 50_000,
        "depth2img": 100_000,
        "seg2img": 100_000,
    }
    assert len(set().union(*taken.values())) == 450_000


def test_a_plan_counts_the_images_of_laion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From what img2dataset writes beside its tars: 100,000 of 120,000, and of ADE20K all there are, without LAION."""
    (table,) = (one for one in Path(PAPER).read_text().split("[[datasets]]\n") if one.startswith('task = "seg2img"'))
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f"[[datasets]]\n{table}")
    asked = ["--recipe", str(recipe), "--models", tiny_models("segformer-ade20k"), "--data-root", str(tmp_path)]
    FIXTURES["ade20k"][1](tmp_path / "ADE20K")
    assert main([*asked, "--plan"]) == 0
    assert re.search(r"seg2img +ADE20K +100,000 +6 ", capsys.readouterr().out)
    count = 120_000
    write_files(tmp_path / "LAION-Aesthetics", {"00000.tar": b"\0" * 10_240})
    columns = {
        "key": pa.array([f"{number:09d}" for number in range(count)]),
        "status": pa.array(["success"] * count),
        "aesthetic": pa.array([6.5] * count),
    }
    pq.write_table(pa.table(columns), tmp_path / "LAION-Aesthetics/00000.parquet")
    assert main([*asked, "--plan"]) == 0
    assert re.search(r"seg2img +LAION-Aesthetics +100,000 +120,000 ", capsys.readouterr().out)
