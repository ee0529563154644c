"""The mimicbrush task from end to end: photos, frames of clips, and holes that a model fills."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.data

from operators.read.bundled import BundledPhotos
from pipelines.tasks.personalisation import MIMICBRUSH
from tests.datasets import nearest, reader_of
from tests.generated import generate
from tests.sources import encode, write_files
from tests.tiny import few_steps, tiny_models


def test_photos_need_no_model(tmp_path: Path) -> None:
    out = generate(MIMICBRUSH, _crops(4), "/nowhere", tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 4
    for row in rows:
        assert (row["direction"], row["kind"]) == ("forward", "generate")
        assert (row["inputs"], row["output"]) == (["input", "reference"], "target")
        assert {image["role"] for image in row["images"]} == {"input", "reference", "mask", "target"}
        assert nearest(row)["pair"]
        assert {"changed_area", "ssim", "sharpness", "mean_abs_diff"} <= dict(row["scores"]).keys()
        assert [step["model"] for step in row["steps"] if step["model"]] == []


def test_frames_of_clips(tmp_path: Path) -> None:
    """Three frames of a moving camera, and a clip that stands still."""
    photo = skimage.data.astronaut()
    moving = {f"frames/moving/{at:03}.png": encode(photo[at : at + 200, at : at + 200]) for at in (100, 108, 118)}
    still = {f"frames/still/{index}.png": encode(photo[:200, :200]) for index in range(2)}
    write_files(tmp_path / "data", moving | still)
    out = generate(MIMICBRUSH, reader_of(MIMICBRUSH, str(tmp_path / "data")), "/nowhere", tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert {row["source_group"] for row in rows} == {"frames/moving"}
    assert len(rows) == 3
    rejects = pq.read_table(out / "rejects").to_pylist()
    assert [row["reason"] for row in rejects] == ["too_alike"] * 2
    assert all(dict(row["scores"])["frame_ssim"] == pytest.approx(1) for row in rejects)
    reader = reader_of(MIMICBRUSH, str(tmp_path / "data"))
    all_kept = pq.read_table(generate(MIMICBRUSH.keeping_all(), reader, "/nowhere", tmp_path / "all") / "manifest")
    groups = all_kept["source_group"].to_pylist()
    assert sorted(groups) == ["frames/moving"] * 3 + ["frames/still"] * 2
    for row in rows:
        first, second = row["source_ref"].split("+")
        assert first != second and first.split("/")[1] == second.split("/")[1]


def test_a_model_fills_the_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    task = MIMICBRUSH.with_options({"generator": "sd15"})
    out = generate(task, _crops(2), tiny_models("sd15-inpaint", "sd15-ip-adapter"), tmp_path)
    rows = pq.read_table(out / "manifest").to_pylist()
    assert len(rows) == 2
    for row in rows:
        assert {step["model"] for step in row["steps"] if step["model"]} == {"sd15-inpaint", "sd15-ip-adapter"}
        assert np.isfinite(dict(row["scores"])["changed_area"])


def _crops(count: int) -> BundledPhotos:
    reader = reader_of(MIMICBRUSH, None)
    assert isinstance(reader, BundledPhotos)
    return replace(reader, photos=("skimage/data/astronaut.png",), crops_per_photo=count)
