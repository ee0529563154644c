from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from manifests.dataset import DatasetError
from manifests.schema import Item
from operators.degrade.rain import Rain
from operators.judge.gate import Gate
from operators.word.instruct import Instruct
from pipelines.run import plan
from pipelines.run.lock import only_run
from pipelines.run.plan import Job, cut_units, find_source, folder_name, make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.editing import ULTRAEDIT
from pipelines.tasks.low_level import DENOISE, DERAIN
from pipelines.tasks.personalisation import POSE
from pipelines.tasks.task import Task
from tests.datasets import finish_job, plan_job, reader_of
from tests.sources import write_photos, write_rain13k


@pytest.mark.parametrize(
    ("items", "sizes"),
    [
        (1, [1]),
        (32, [32]),
        (33, [17, 16]),
        (100, [25] * 4),
        (257, [33] + [32] * 7),
        (4_096, [512] * 8),
        (4_097, [456] * 2 + [455] * 7),
    ],
)
def test_units_are_of_one_size_fine_for_few_items_and_full_for_many(items: int, sizes: list[int]) -> None:
    units = list(cut_units(_items(items), 0, 512))
    assert [len(unit) for unit in units] == sizes
    assert sorted((item for unit in units for item in unit), key=lambda item: item.index) == _items(items)


def _with(operator: Any) -> Task:
    """The task with another operator in the place of its own of that class."""
    return DERAIN.changed(lambda link: operator if type(link) is type(operator) else link)


@pytest.mark.parametrize(
    ("items", "skip", "sizes"),
    [
        (8, 0, [8]),
        (40, 0, [20, 20]),
        (44, 0, [24, 20]),  # 11 blocks
        (42, 0, [24, 18]),  # the last block has two
        (100, 2, [26, 24, 24, 24]),  # the first block has two, and 24 whole ones follow
    ],
)
def test_what_belongs_together_comes_into_one_unit(items: int, skip: int, sizes: list[int]) -> None:
    count = None if not skip else items - skip
    units = list(cut_units(_items(items), 0, 512, contiguous=True, block=4, count=count, skip=skip))
    assert [len(unit) for unit in units] == sizes
    assert [item.index for unit in units for item in unit] == list(range(skip, items))
    unit_of = {item.index: number for number, unit in enumerate(units) for item in unit}
    assert all(unit_of[index] == unit_of[index // 4 * 4] for index in unit_of if index // 4 * 4 in unit_of)


@pytest.mark.parametrize(("scale", "kept"), [(0.001, 4), (0.1, 4), (0.13, 8), (0.5, 20), (0.99, 39), (1.0, 39)])
def test_a_scale_keeps_whole_blocks(scale: float, kept: int) -> None:
    units = list(cut_units(_items(39), 0, 512, contiguous=True, block=4, scale=scale))
    assert [item.index for unit in units for item in unit] == list(range(kept))


def test_units_are_shuffled_by_the_seed() -> None:
    first, again, other = (list(cut_units(_items(100), seed, 512)) for seed in (0, 0, 1))
    assert first == again != other
    assert first[0] != sorted(first[0], key=lambda item: item.index)


@pytest.mark.parametrize("contiguous", [False, True])
def test_a_count_cuts_in_the_order_of_the_plan(contiguous: bool) -> None:
    whole = _flat(contiguous=contiguous)
    assert _flat(contiguous=contiguous, count=30) == whole[:30]
    assert _flat(contiguous=contiguous, count=30, skip=50) == whole[50:80]
    # Where there are fewer than both together, fewer are passed over rather than taken.
    assert _flat(contiguous=contiguous, count=30, skip=90) == whole[70:]
    assert _flat(contiguous=contiguous, count=1_000, skip=90) == whole
    assert _flat(contiguous=contiguous, skip=90) == whole
    # The scale is of what is taken, at least one.
    assert _flat(contiguous=contiguous, count=30, skip=50, scale=0.1) == whole[50:53]
    assert _flat(contiguous=contiguous, count=30, scale=0.001) == whole[:1]
    assert _flat(contiguous=contiguous, scale=0.5) == whole[:50]


def test_a_count_is_in_the_fingerprint_by_the_items_alone(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 6)
    reader = reader_of(DERAIN, str(data))
    whole, counted, cut = (
        make_job(DERAIN, reader, str(tmp_path / str(count) / "derain"), 0, count=count).plan for count in (None, 6, 5)
    )
    assert whole.fingerprint == counted.fingerprint != cut.fingerprint
    assert (counted.items, cut.items) == (6, 5)


@pytest.mark.parametrize(
    "change",
    [
        replace(DERAIN, pairs_per_shard=16),
        _with(Gate(max_mean_abs_diff=0.5)),
        _with(Instruct(forward=("Dry it.",), reverse=("Wet it.",))),
    ],
)
def test_another_configuration_is_refused(tmp_path: Path, change: Task) -> None:
    data = write_photos(tmp_path / "photos", 40)
    job = plan_job(tmp_path, data)
    with pytest.raises(DatasetError, match="holds data of another configuration"):
        plan_job(tmp_path, data, task=change)
    assert job.dataset.plan().fingerprint == job.plan.fingerprint


def test_another_version_of_an_operator_is_another_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_photos(tmp_path / "photos", 3)
    plan_job(tmp_path, data)
    monkeypatch.setattr(Rain, "version", 99)
    with pytest.raises(DatasetError, match=r"operators\.rain\.version: \d+ there, 99 now"):
        plan_job(tmp_path, data)


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "resized"])
def test_a_changed_source_is_refused(tmp_path: Path, change: str) -> None:
    data = write_photos(tmp_path / "photos", 4)
    plan_job(tmp_path, data)
    match change:
        case "added":
            (data / "new.jpg").write_bytes(b"1")
        case "removed":
            (data / "0001.jpg").unlink()
        case "renamed":
            (data / "0001.jpg").rename(data / "1.jpg")
        case "resized":
            (data / "0001.jpg").write_bytes((data / "0002.jpg").read_bytes() + b"1")
    with pytest.raises(DatasetError, match=r"another configuration.* What differs: items(_sha256)?: "):
        plan_job(tmp_path, data)


def test_a_source_file_modified_since_the_plan_is_refused_until_all_is_made(tmp_path: Path) -> None:
    """Its size is the same, so only its time tells."""
    data = write_photos(tmp_path / "photos", 40)
    job = plan_job(tmp_path, data)
    (first, *_), (later, *_) = (job.dataset.unit(job.plan, unit).items for unit in range(2))
    make_unit(job, 0, Spent())
    (data / first.ref).touch()  # what was made of it stays as it is
    plan_job(tmp_path, data)
    listed = (data / later.ref).stat()
    (data / later.ref).touch()
    with pytest.raises(DatasetError, match=rf"/{later.ref} was modified after .*/derain/plan\.parquet was made"):
        plan_job(tmp_path, data)
    os.utime(data / later.ref, ns=(listed.st_atime_ns, listed.st_mtime_ns))
    make_unit(job, 1, Spent())
    finish_job(job)
    (data / later.ref).touch()
    assert plan_job(tmp_path, data).plan.fingerprint == job.plan.fingerprint  # nothing more is read from the source


def test_out_inside_data_is_gone_on_with_and_is_no_data_of_another_task(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 40)
    out = data / "made/xprompt"
    with only_run(str(out / "derain"), print, wait=False):
        job = plan_job(out, data)
        make_unit(job, 0, Spent())
    assert job.plan.items == 40
    assert plan_job(out, data).plan.fingerprint == job.plan.fingerprint
    make_unit(job, 1, Spent())
    finish_job(job)
    assert plan_job(out, data).plan.items == 40
    source = find_source(DENOISE, str(data))
    assert len(list(source.reader.items(source.reader.listing()))) == 40
    assert "1 datasets of ours passed over" in source.seen


def test_a_moved_or_copied_source_is_the_same(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 4)
    job = plan_job(tmp_path, data)
    moved = data.rename(tmp_path / "elsewhere")
    assert plan_job(tmp_path, moved).plan.fingerprint == job.plan.fingerprint


def test_the_nested_layout_makes_the_same_plan_from_either_folder(tmp_path: Path) -> None:
    inner = write_rain13k(tmp_path / "data/train/Rain13K", 3)
    assert _job(tmp_path / "a", tmp_path / "data").plan == _job(tmp_path / "b", inner).plan


def test_a_plan_depends_on_nothing_but_its_input(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "photos", 40)
    plans = [_job(tmp_path / name, data) for name in ("a", "b")]
    first, second = ((tmp_path / name / "derain/plan.parquet").read_bytes() for name in ("a", "b"))
    assert first == second
    assert plans[0].suffixes == {"input": "png", "target": "jpg"}


def test_a_test_split_is_in_the_plan_and_training_is_as_it_was(tmp_path: Path) -> None:
    write_rain13k(tmp_path / "data/train/Rain13K", 3)
    write_rain13k(tmp_path / "data/test/Rain100H", 2)
    readers = [find_source(DERAIN, str(tmp_path / "data"), split=split).reader for split in ("train", "Rain100H")]
    trained, tested = (make_job(DERAIN, reader, str(tmp_path / reader.root[-4:]), 0).plan for reader in readers)
    assert (trained.items, tested.items) == (3, 2)
    # The keys that fingerprints had before there were test splits
    before = {"input", "licence", "nested", "reader", "source", "target", "target_values", "version"}
    assert trained.config["source"].keys() == before and tested.config["source"].keys() == before | {"split"}
    assert (trained.test_split, tested.test_split) == ("", "Rain100H")
    assert [folder_name(DERAIN, reader) for reader in readers] == ["derain", "derain-Rain100H"]


def test_an_item_that_is_listed_twice_is_refused_by_name(tmp_path: Path) -> None:
    reader = reader_of(DERAIN, write_photos(tmp_path / "photos", 3))
    listed = list(reader.listing())
    with pytest.raises(
        ValueError, match=rf"^DATA: {listed[1].path} in .* is listed 2 times: leave it in the list once"
    ):
        plan._items(reader, [*listed, listed[1]])


def test_without_bundled_input_the_layouts_are_named() -> None:
    with pytest.raises(ValueError, match="point DATA at one of") as caught:
        reader_of(replace(DERAIN, bundled=None), None)
    assert all(source.layout in str(caught.value) and source.obtain in str(caught.value) for source in DERAIN.sources)


@pytest.mark.parametrize("task", [POSE, ULTRAEDIT])
def test_where_models_run_their_libraries_are_named_as_far_as_they_are_installed(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(name: str) -> str:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(plan, "version", installed)
    models = {"ai-edge-litert", "controlnet-aux", "diffusers", "open_clip_torch", "torch", "torchvision"}
    assert versions(task).keys() - versions(DERAIN).keys() == {*models, "transformers"}
    assert versions(DERAIN).keys() == {"fpng", "numpy", "opencv-python-headless", "pillow", "pyarrow"}


def _flat(**part: Any) -> list[Item]:
    """A part of 100 items, all units together."""
    return [item for unit in cut_units(_items(100), 0, 512, **part) for item in unit]


def _items(count: int) -> list[Item]:
    return [Item(ref=str(number), files=(str(number),), index=number) for number in range(count)]


def _job(out: Path, data: Path) -> Job:
    return make_job(DERAIN, reader_of(DERAIN, str(data)), str(out / "derain"), 0)
