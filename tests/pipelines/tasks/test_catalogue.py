"""Every task runs end to end: those of Tab. 6 here, on each of their layouts, the others in files of their own."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb
from manifests.storage import Store
from manifests.verify.dataset import verify
from manifests.write.finish import Totals, finish
from operators.shared.palettes import decode_depth, decode_labels, decode_normals
from operators.word.describe import Describe
from pipelines.recipe import FULL_8M
from pipelines.report.estimate import estimate
from pipelines.run.plan import make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.task import Task
from tests.datasets import nearest, reader_of
from tests.fixtures import FIXTURES
from tests.tiny import tiny_models

PAPERS = {entry.task for entry in FULL_8M if entry.factor > 1}
"""Tasks of Tab. 6, that read pairs or make them without a large model: they run in this file."""
ELSEWHERE = {
    "style": "tests.pipelines.test_style",
    "pose": "tests.pipelines.test_pose",
    "tryon": "tests.pipelines.test_try_on",
    "composition": "tests.pipelines.test_composition",
    "mimicbrush": "tests.pipelines.test_mimicbrush",
    "instructpix2pix": "tests.pipelines.test_instructpix2pix",
    "editing": "tests.pipelines.test_editing",
    "pairs": "tests.pipelines.test_own_pairs",
}
"""Tasks whose pictures come from models or a user, and the file that runs each of them."""
LAYOUTS = [
    (task.name, layout)
    for task in OUR_TASKS.values()
    if task.name in PAPERS
    for layout, (source, _) in FIXTURES.items()
    # A folder with several layouts is read by the first that fits.
    if source in task.sources and layout != "gopro_gamma"
]
FACTORS = {entry.task: entry.factor for entry in FULL_8M}


def test_there_is_a_task_for_each_line_of_tab_6() -> None:
    assert set(OUR_TASKS) >= PAPERS
    assert {name for name, _ in LAYOUTS} == PAPERS
    for name, factor in FACTORS.items():
        assert name not in OUR_TASKS or len(OUR_TASKS[name].examples) == factor


def test_every_task_is_run_by_this_file_or_by_one_of_its_own() -> None:
    assert {name for name, _ in LAYOUTS} | set(ELSEWHERE) == set(OUR_TASKS)
    for name, file in ELSEWHERE.items():
        known = vars(importlib.import_module(file)).values()
        assert any(value is OUR_TASKS[name] for value in known), f"{file} does not import the task {name}"


@pytest.fixture(scope="session")
def models() -> str:
    return tiny_models("hed", "depth-anything", "segformer-ade20k", "marigold-normals")


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_a_task_runs_on_a_layout(name: str, layout: str, tmp_path: Path, models: str) -> None:
    written = FIXTURES[layout][1](tmp_path / "source")
    rows, totals = run(OUR_TASKS[name], str(tmp_path / "source"), tmp_path, models)
    assert totals.pairs == written.pairs
    assert totals.rejects == written.rejects
    # What Tab. 6 counts is made or waits for a model, and nothing else.
    assert totals.examples.total() + totals.missing.total() == FACTORS[name] * totals.pairs
    assert len(rows) == totals.examples.total()
    expected = {f"{direction} {kind}" for direction, kind in OUR_TASKS[name].examples}
    assert {*totals.examples} | {missing.split(" (")[0] for missing in totals.missing} == expected


@pytest.mark.parametrize("name", [task.name for task in OUR_TASKS.values() if task.bundled and task.name in PAPERS])
def test_a_task_runs_on_its_bundled_input(name: str, tmp_path: Path, models: str) -> None:
    rows, totals = run(OUR_TASKS[name], None, tmp_path, models)
    assert totals.pairs > 0
    assert totals.examples.total() + totals.missing.total() == FACTORS[name] * totals.pairs
    described = "reverse describe" in totals.examples
    assert described == any(isinstance(link, Describe) for link in OUR_TASKS[name].chain)
    assert all(nearest(row)["pair"] for row in rows)


def test_depth_reads_back_in_metres_labels_as_classes_normals_in_degrees(tmp_path: Path, models: str) -> None:
    for name, layout in (("depth", "nyu_sync"), ("segmentation", "ade20k"), ("normal", "scannet")):
        source = tmp_path / name / "source"
        FIXTURES[layout][1](source)
        rows, _ = run(OUR_TASKS[name], str(source), tmp_path / name, models)
        row = rows[0]
        pixels = decode_rgb(image(tmp_path / name / "out" / name, row, "target"))
        raw = raw_target(source, row)
        if name == "depth":
            metres = decode_depth(pixels)
            valid = raw > 0
            assert np.array_equal(np.isnan(metres), ~valid)
            assert np.abs(metres[valid] - raw[valid] / 1000).max() <= 0.004
        elif name == "segmentation":
            assert np.array_equal(decode_labels(pixels), raw)
        else:
            normals = 1 - 2 * raw.astype(np.float64) / 255
            normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
            cosine = (decode_normals(pixels) * normals).sum(-1)
            assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.7


def test_captioning_has_an_example_in_context_only_where_the_task_lists_it(tmp_path: Path, models: str) -> None:
    """Paper section 4: tasks with an image in and an image out have one. `run` verifies both datasets."""
    FIXTURES["laion"][1](tmp_path / "source")
    text2img = OUR_TASKS["text2img"]
    rows, totals = run(text2img, str(tmp_path / "source"), tmp_path / "paper", models)
    assert {row["kind"] for row in rows} == {"generate", "describe"} and totals.without_context == 0
    assert {nearest(row)["pair"] for row in rows} == {None}
    listing = replace(text2img, in_context=(("forward", "describe"),))
    listed, totals = run(listing, str(tmp_path / "source"), tmp_path / "listed", models)
    contexts = [row["kind"] for row in listed if nearest(row)["pair"]]
    assert {*contexts} == {"describe"} and len(contexts) + totals.without_context == totals.pairs
    assert [{**row, "contexts": [], "context_method": None} for row in listed] == rows


def test_swapped_tasks_store_the_photo_as_the_target(tmp_path: Path, models: str) -> None:
    source = tmp_path / "source"
    FIXTURES["nyu_sync"][1](source)
    rows, _ = run(OUR_TASKS["depth2img"], str(source), tmp_path, models)
    assert image(tmp_path / "out" / "depth2img", rows[0], "target") == located(source, rows[0]).read_bytes()


def run(task: Task, data: str | None, tmp_path: Path, models: str) -> tuple[list[dict[str, Any]], Totals]:
    """Make a dataset in this process; its rows and totals. What `verify` finds fails the test."""
    reader = reader_of(task, data)
    task = replace(task.for_source(reader).bound(models), pairs_per_shard=4 if data else task.pairs_per_shard)
    out = tmp_path / "out" / task.name
    job = make_job(task, reader, str(out), seed=0, scale=1.0 if data else 0.05)
    for unit in range(job.plan.units):
        make_unit(job, unit, Spent())
    totals = finish(job.dataset, job.plan, versions=versions(job.task), licences={reader.source: reader.licence})
    assert [finding.message for finding in verify(str(out))] == []
    rows = pq.read_table(out / "manifest").to_pylist()
    keys = Counter((row["pair"], row["direction"], row["kind"]) for row in rows)
    assert max(keys.values()) == 1
    return rows, totals


def image(dataset: Path, row: dict[str, Any], role: str) -> bytes:
    stored = next(stored for stored in row["images"] if stored["role"] == role)
    return Store(str(dataset)).read(f"shards/{row['shard']}", stored["offset"], stored["bytes"])


def located(source: Path, row: dict[str, Any]) -> Path:
    """The input file of a row: its reference is relative to the folder in which the layout was found."""
    return next(path for path in source.rglob(Path(row["source_ref"]).name) if str(path).endswith(row["source_ref"]))


def raw_target(source: Path, row: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The source's own target of a row, by the names of the three layouts."""
    path = located(source, row)
    names = (
        path.with_name(path.name.replace("rgb_", "sync_depth_")).with_suffix(".png"),
        Path(str(path).replace("images", "annotations")).with_suffix(".png"),
        path.with_name(path.name.replace("-color", "-normal")),
    )
    target = next(name for name in names if name.exists() and name != path)
    with PILImage.open(target) as opened:
        return np.asarray(opened)


def test_the_plan_says_what_the_source_itself_leaves_out(tmp_path: Path) -> None:
    FIXTURES["laion"][1](tmp_path)
    task = OUR_TASKS["text2img"]
    estimated = estimate(task, reader_of(task, str(tmp_path)), seed=0)
    assert estimated.left_out == {
        "not downloaded": 2,
        "without a score or a key": 1,
        "score not above 6": 2,
        "unfinished tars": 1,
    }
