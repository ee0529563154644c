"""Shards and manifests open, unchanged, in the tools that people have."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
import webdataset

from manifests.images.pixels import decode_rgb
from tests.manifests.make import make_dataset, photo

INDEXES = [0, 1, 2, 3, 5, 6, 7, 8]
"""Of the pairs, in their order: each unit's fifth item is rejected."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("elsewhere")
    make_dataset(str(root), units=2)
    return root


def shards(root: Path) -> list[str]:
    return [str(path) for path in sorted((root / "shards").iterdir())]


def test_webdataset(root: Path) -> None:
    samples = list(webdataset.WebDataset(shards(root), shardshuffle=False).decode("pil"))
    assert [sample["json"]["source_ref"] for sample in samples] == [f"photo.png#{index}" for index in INDEXES]
    for index, sample in zip(INDEXES, samples, strict=True):
        np.testing.assert_array_equal(sample["target.png"], photo(index))
        np.testing.assert_array_equal(sample["input.png"], photo(index) // 2)
        assert [example["kind"] for example in sample["json"]["examples"]] == ["generate"] * 2 + ["describe"] * 2


@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_datasets(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    rows: Iterator[dict[str, Any]] = iter(
        datasets.load_dataset(
            "webdataset",
            data_files={"train": shards(root)},
            split="train",
            streaming=streaming,
            cache_dir=str(tmp_path),
        )
    )
    found = list(rows)
    assert [row["json"]["source_ref"] for row in found] == [f"photo.png#{index}" for index in INDEXES]
    for index, row in zip(INDEXES, found, strict=True):
        np.testing.assert_array_equal(row["target.png"], photo(index))
        assert row["json"]["examples"][2]["text"] == "The rain is gone."


def test_tar(root: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", shards(root)[1], "-C", str(tmp_path)], check=True)
    targets = [decode_rgb(path.read_bytes()) for path in tmp_path.glob("*.target.png")]
    assert len(list(tmp_path.iterdir())) == 12
    assert all(any(np.array_equal(target, photo(index)) for target in targets) for index in INDEXES[4:])


def test_duckdb(root: Path) -> None:
    """Which seed made this pair, and is its input where the manifest says: in SQL."""
    rows = duckdb.execute(
        """
        select source_ref, steps[1].operator, steps[1].seed, scores['mean_abs_diff'], len(images), images[1].member
        from read_parquet(?) where direction = 'forward' and kind = 'generate' order by shard, source_ref
        """,
        [str(root / "manifest/*.parquet")],
    ).fetchall()
    assert [row[:5] for row in rows] == [(f"photo.png#{index}", "rain", index, index / 10, 2) for index in INDEXES]
    assert all(row[5].endswith(".input.png") for row in rows)
    rejected = duckdb.execute(
        "select reason, count(*) from read_parquet(?) group by reason", [str(root / "rejects/*.parquet")]
    ).fetchall()
    assert rejected == [("truncated", 2)]


def test_pandas(root: Path) -> None:
    frame = pd.read_parquet(root / "manifest")
    assert len(frame) == 32
    assert frame.groupby("shard")["pair"].nunique().to_dict() == {"derain-000000.tar": 4, "derain-000001.tar": 4}
    assert frame["instruction"][0] == "Take away the rain — vollständig."
    assert [image["width_px"] for image in frame["images"][0]] == [64, 64]
    assert frame["text"].isna().sum() == 16  # of the generate examples


def test_polars(root: Path) -> None:
    frame = pl.read_parquet(root / "manifest/*.parquet")
    assert frame.height == 32
    assert frame["pair"].n_unique() == 8
    steps = frame.explode("steps").unnest("steps")
    assert sorted(set(steps["seed"].to_list())) == INDEXES
    assert set(frame["contexts"].list.first().struct.field("pair")) == set(frame["pair"])
