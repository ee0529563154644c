"""BAGEL's Parquet, read as BAGEL reads it.

Lines are of ByteDance-Seed/Bagel@056b5fd51a88c1eb4547318609e25d40080fcf87, below data/.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from manifests.dataset import Dataset
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.export.to.bagel import Bagel
from manifests.images.pixels import Pixels
from tests.datasets import sha256_by_file
from tests.manifests.export.to.varied import Seen, is_same, make_varied, seen
from tests.manifests.make import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_varied(tmp_path_factory.mktemp("bagel") / "dataset")


@pytest.fixture(scope="module")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bagel") / "an export"
    export([dataset], Bagel(), str(out), Choice(direction="both"))
    return out


def test_edits_are_read_as_bagel_reads_them(dataset: Dataset, exported: Path) -> None:
    meant = [
        seen(example) for pair in dataset for example in pair.examples if len(example.inputs) == 1 and example.output
    ]
    read = [_parse_edit(row) for row in _rows_of_edits(exported)]
    assert len(read) == 4
    assert all(map(is_same, read, meant))


def test_pictures_from_text_are_read_as_bagel_reads_them(dataset: Dataset, exported: Path) -> None:
    (meant,) = (seen(example) for pair in dataset for example in pair.examples if not example.inputs)
    assert [is_same(read, meant) for read in _read_t2i(exported)] == [True]


def test_what_is_not_carried_is_counted(exported: Path) -> None:
    said = json.loads((exported / "export.json").read_text())
    assert said["examples"] == 5
    assert said["without"] == {"in-context examples": 4}
    assert sum(said["left_out"].values()) == 3  # two describe examples, one of two inputs


def test_stored_bytes_pass_through(dataset: Dataset, exported: Path) -> None:
    first, turned, *_ = dataset
    rows = _rows_of_edits(exported)
    assert rows[0]["image_list"].tolist() == [first.image_bytes("input"), first.image_bytes("target")]
    assert rows[2]["image_list"][0] != turned.image_bytes("input")  # BAGEL does not turn pictures upright
    assert rows[2]["image_list"][1] == turned.image_bytes("target")


def test_the_same_bytes_again(dataset: Dataset, exported: Path, tmp_path: Path) -> None:
    """What names no path; the other files are the same but for the path."""
    export([dataset], Bagel(), str(tmp_path / "again"), Choice(direction="both"))
    one, other = sha256_by_file(exported), sha256_by_file(tmp_path / "again")
    with_paths = {"dataset_info.json", "parquet_info/edit.json"}
    assert one.keys() == other.keys()
    assert {name for name in one if one[name] != other[name]} == with_paths
    for name in with_paths:
        assert (exported / name).read_text().replace(str(exported), str(tmp_path / "again")) == (
            tmp_path / "again" / name
        ).read_text()


def test_parts_are_files_and_images_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manifests.export.select.PART_BYTES", 1)
    monkeypatch.setattr("manifests.export.part.ROW_GROUP_BYTES", 1)
    dataset = make_dataset(str(tmp_path / "dataset"), units=2, pairs=3)
    out = tmp_path / "out"
    export([dataset], Bagel(), str(out))
    info = json.loads((out / "parquet_info" / "edit.json").read_text())
    assert [Path(path).name for path in info] == ["000000.parquet", "000001.parquet"]
    assert [entry["num_row_groups"] for entry in info.values()] == [3, 3]
    assert _config(out)["unified_edit"]["num_used_data"] == [2]
    assert _info(out)["unified_edit"]["xprompt"]["num_files"] == 2
    assert _info(out)["unified_edit"]["xprompt"]["num_total_samples"] == 6
    meant = [seen(pair.example("forward", "generate")) for pair in dataset]
    assert all(map(is_same, map(_parse_edit, _rows_of_edits(out)), meant))


def test_without_edits_there_is_no_group_of_them(tmp_path: Path) -> None:
    """BAGEL divides by the number of files in a folder (parquet_utils.py:41)."""
    export([make_varied(tmp_path / "dataset", pairs_from=3)], Bagel(), str(tmp_path / "out"))
    assert _config(tmp_path / "out").keys() == _info(tmp_path / "out").keys() == {"t2i_pretrain"}
    assert not (tmp_path / "out" / "edit").exists()


def _config(exported: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((exported / "bagel.yaml").read_text())
    return config


def _info(exported: Path) -> dict[str, Any]:
    """DATASET_INFO (dataset_info.py:16-39) after what SAMPLE.md says is to be added to it."""
    info: dict[str, Any] = {}
    for group, entries in json.loads((exported / "dataset_info.json").read_text()).items():
        assert group in {"t2i_pretrain", "vlm_sft", "unified_edit"}  # dataset_info.py:9-13
        info.setdefault(group, {}).update(entries)
    return info


def _group(exported: Path, group: str) -> tuple[list[str], list[int], dict[str, Any]]:
    """Folders, numbers of files and info of a group, as PackedDataset.build_datasets finds them."""
    args = _config(exported)[group]
    assert args["weight"] > 0  # dataset_base.py:97, 239-240
    for name in ("image_transform_args", "vit_image_transform_args"):  # dataset_base.py:102-107, transforms.py
        if name in args or group == "unified_edit":
            assert args[name].keys() == {"image_stride", "max_image_size", "min_image_size"}
    folders, parquet_info = [], {}
    for name in args["dataset_names"]:  # dataset_base.py:109-112
        meta = _info(exported)[group][name]  # dataset_base.py:115
        folders.append(meta["data_dir"])  # dataset_base.py:116
        if "parquet_info_path" in meta:  # dataset_base.py:118-123
            parquet_info.update(json.loads(Path(meta["parquet_info_path"]).read_text()))
    return folders, args["num_used_data"], parquet_info


def _files(folder: str, used: int) -> list[str]:
    """parquet_utils.py:36-43: the files of a folder, repeated until there are `used`."""
    found = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".parquet")]
    return (found * (used // len(found) + 1))[:used]


def _rows_of_edits(exported: Path) -> list[Any]:
    """interleave_datasets/interleave_t2i_dataset.py:152-161 and 182-195, in the order of files and row groups."""
    folders, used, info = _group(exported, "unified_edit")
    rows: list[Any] = []
    for folder, number in zip(folders, used, strict=True):
        for path in sorted(_files(folder, number)):
            assert path in info  # 157: what is not there is passed over without a word
            with pyarrow.fs.LocalFileSystem().open_input_file(path) as file:
                table = pq.ParquetFile(file)
                assert info[path]["num_row_groups"] == table.num_row_groups  # 158-160
                assert info[path]["num_rows"] == table.metadata.num_rows  # of the authors' file; not read
                for group in range(info[path]["num_row_groups"]):
                    rows += [row for _, row in table.read_row_group(group).to_pandas().iterrows()]  # 189, 196
    return rows


def _parse_edit(row: Any) -> Seen:
    """interleave_datasets/edit_dataset.py:21-71, where two images leave nothing to chance."""
    images, texts = row["image_list"], row["instruction_list"]
    assert len(images) == 2  # 22-26: start 0, end 1
    assert len(texts) == 1
    assert len(texts[0]) == 1  # 54: one of those that fit
    return Seen(inputs=[_rgb(images[0])], output=_rgb(images[1]), instruction=str(texts[0][0]))  # 31, 54, 67


def _read_t2i(exported: Path) -> list[Seen]:
    """t2i_dataset.py:55-96."""
    folders, used, _ = _group(exported, "t2i_pretrain")
    found = []
    for path in _files(folders[0], used[0]):
        for _, row in pq.ParquetFile(path).read().to_pandas().iterrows():
            (caption,) = json.loads(row["captions"]).values()  # 79-80, 85-90: one of them
            found.append(Seen(inputs=[], output=_rgb(row["image"]), instruction=caption))  # 69-70
    return found


def _rgb(data: bytes) -> Pixels:
    """data_utils.py:118-127, for a picture that is not transparent."""
    image = Image.open(io.BytesIO(data))
    assert image.mode != "RGBA"
    assert "transparency" not in image.info
    return np.asarray(image.convert("RGB"))
