"""NeMo AutoModel's image-edit manifest, read as its cache encoder reads it.

Lines are of NVIDIA-NeMo/Automodel@36044ad3d139363fb6c73c24af2e7c6b65ec52f6, in
nemo_automodel/components/models/qwen_image_edit/preprocessing.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from manifests.dataset import Dataset
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.export.to.nemo_automodel import NemoAutoModel
from tests.manifests.export.to.varied import Seen, is_same, make_varied, seen


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_varied(tmp_path_factory.mktemp("nemo") / "dataset")


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("nemo") / "export"
    export([dataset], NemoAutoModel(), str(out), Choice(direction="both"))
    return out


def test_all_is_read_as_automodel_reads_it(dataset: Dataset, exported: Path) -> None:
    meant = [seen(example) for pair in dataset for example in pair.examples if example.inputs and example.output]
    rows = _manifest(exported / "manifest.jsonl")
    assert len(rows) == 5
    for row, example in zip(rows, meant, strict=True):
        shown = {reference["file_name"]: _rgb(exported / reference["file_name"]) for reference in row["media"]}
        (target,) = _of(row, "target")  # 370
        for role in ("context", "condition"):  # 371-372: latents, and what the text encoder sees, in their order
            read = Seen([shown[name] for name in _of(row, role)], shown[target], row["prompt"])  # 374-376, 399
            assert is_same(read, example)


def test_the_mask_is_kept_in_the_metadata(dataset: Dataset, exported: Path) -> None:
    """As its exporter keeps MagicBrush's: {"media_type": "image", "file_name": ...}
    (tools/diffusion/data/hf_dataset_export.py:418-421)."""
    kept = [row["metadata"]["row"].get("mask") for row in _manifest(exported / "manifest.jsonl")]
    assert kept[:4] == [None] * 4
    assert kept[4]["media_type"] == "image"
    masked = next(pair for pair in dataset if "mask" in pair.roles)
    assert (exported / kept[4]["file_name"]).read_bytes() == masked.image_bytes("mask")


def test_what_is_not_carried_is_counted(exported: Path) -> None:
    said = json.loads((exported / "export.json").read_text())
    assert said["without"] == {"in-context examples": 4}
    assert sum(said["left_out"].values()) == 3  # two describe examples, one without input


def _manifest(path: Path) -> list[dict[str, Any]]:
    """_read_manifest (482-564), and what encode_manifest asks of all rows together (194-197)."""
    root = path.parent.resolve()
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for line in file:  # 487: lines as Python cuts them
            row = json.loads(line)  # 491
            assert isinstance(row["id"], str)  # 497, 501
            assert isinstance(row["prompt"], str)  # 498, 503
            assert isinstance(row["metadata"], dict)  # 500, 507
            for reference in row["media"]:  # 511
                name = Path(reference["file_name"])  # 515, 520
                assert not name.is_absolute()  # 521
                assert (root / name).resolve().is_relative_to(root)  # 525-527
                assert (root / name).is_file()  # 532
                assert reference["role"] in {"target", "context", "condition"}  # 514, 516
            assert len(_of(row, "target")) == 1  # 538, 541
            assert _of(row, "context")  # 539
            assert _of(row, "condition")  # 540
            rows.append(row)
    assert rows  # 559
    indices = [row["metadata"].get("row_index", number) for number, row in enumerate(rows)]  # 546
    assert len(set(indices)) == len(indices)  # 562
    for field in ("dataset_name", "dataset_split"):  # 195, 197, 567-575
        (one,) = {row["metadata"][field] for row in rows}
        assert one
    assert {row["metadata"].get("dataset_config_name") for row in rows} == {None}  # 196, 578-586
    return rows


def _of(row: dict[str, Any], role: str) -> list[str]:
    return [reference["file_name"] for reference in row["media"] if reference["role"] == role]


def _rgb(path: Path) -> Any:
    """_load_unique_images (620-627)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
