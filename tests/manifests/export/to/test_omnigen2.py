"""OmniGen2's JSONL, read as OmniGen2 reads it, with the library that it reads it with.

Lines are of VectorSpaceLab/OmniGen2@0f72fa92564d9f8ba76f53fcc3c05aca2372458f, in
omnigen2/dataset/omnigen2_train_dataset.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from manifests.dataset import Dataset
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.export.to.omnigen2 import OmniGen2
from manifests.images.pixels import Pixels
from tests.manifests.export.to.varied import Seen, is_same, make_varied, seen


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_varied(tmp_path_factory.mktemp("omnigen2") / "dataset")


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("omnigen2") / 'an "export" 🎩'
    export([dataset], OmniGen2(), str(out), Choice(direction="both"))
    return out


def test_all_is_read_as_omnigen2_reads_it(
    dataset: Dataset, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # paths do not depend on where the training runs
    rows = _collect(exported / "omnigen2.yml", tmp_path / "cache")
    examples = [example for pair in dataset for example in pair.examples if example.output]
    examples.sort(key=lambda example: len(example.inputs))  # t2i, edit, ic
    assert [row["task_type"] for row in rows] == ["t2i", "edit", "edit", "edit", "edit", "ic"]
    assert all(map(is_same, map(_process, rows), map(seen, examples)))


def test_what_is_not_carried_is_counted(exported: Path) -> None:
    said = json.loads((exported / "export.json").read_text())
    assert said["without"] == {"in-context examples": 4, "masks": 1}
    assert said["left_out"] == {"describe examples have no place in this format": 2}


def test_an_image_of_several_examples_is_one_file(dataset: Dataset, exported: Path) -> None:
    first, *_ = dataset
    rows = [json.loads(line) for line in (exported / "edit.jsonl").read_bytes().splitlines()]
    forward, reverse = rows[:2]
    assert (forward["input_images"], forward["output_image"]) == ([reverse["output_image"]], reverse["input_images"][0])
    assert Path(forward["output_image"]).read_bytes() == first.image_bytes("target")
    assert len([*(exported / "images").iterdir()]) == 2 + 2 + 3 + 1


def _collect(path: Path | str, cache: Path) -> Any:
    """51-90: files that a YAML lists, and those of YAMLs that it lists, as one table."""
    found = []
    for entry in yaml.load(Path(path).read_text(), Loader=yaml.FullLoader)["data"]:  # 40-41, 55
        assert isinstance(entry["ratio"], float)  # 75
        extension = os.path.splitext(entry["path"])[-1]  # 61
        assert not os.path.isdir(entry["path"])  # 57
        assert extension == ".jsonl"  # 62
        table = datasets.load_dataset("json", data_files=entry["path"], cache_dir=str(cache))["train"]  # 63
        assert set(table["task_type"]) == {entry["type"]}  # the author's names; not read
        found.append(table)
    return datasets.concatenate_datasets(found)  # 89


def _process(row: dict[str, Any]) -> Seen:
    """115-152."""
    assert row["instruction"] is not None  # 116
    inputs = row["input_images"] if row.get("input_images") is not None else []  # 127-128
    return Seen(
        inputs=[_rgb(path) for path in inputs],  # 133-134
        output=_rgb(row["output_image"]),  # 140-141
        instruction=row["instruction"],  # 125
    )


def _rgb(path: str) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))
