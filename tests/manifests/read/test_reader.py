"""Reading a dataset back from Python: against tarfile, webdataset and the photos that it was made of."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from manifests import Dataset, DatasetError
from tests.manifests.make import make_dataset, photo

INDEXES = [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]
"""Of the pairs, in their order: each unit's fifth item is rejected."""


def test_pairs_are_what_webdataset_gives(sound: Path) -> None:
    shards = [str(path) for path in sorted((sound / "shards").iterdir())]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    pairs = list(Dataset(sound).pairs())
    assert [pair.key for pair in pairs] == [sample["__key__"] for sample in samples]
    for pair, sample, index in zip(pairs, samples, INDEXES, strict=True):
        np.testing.assert_array_equal(pair.image("input"), sample["input.png"])
        np.testing.assert_array_equal(pair.pil("target"), photo(index))
        found = [
            (example.direction, example.kind, example.instruction, list(example.inputs), example.output or "")
            for example in pair.examples
        ]
        assert found == [
            (told["direction"], told["kind"], told["instruction"], told["inputs"], told["output"])
            for told in sample["json"]["examples"]
        ]


def test_bytes_by_key_are_what_tarfile_gives(sound: Path) -> None:
    dataset = Dataset(str(sound))
    for path in (sound / "shards").iterdir():
        with tarfile.open(path) as tar:
            for member in tar:
                key, role, _ = member.name.split(".") if member.name.count(".") == 2 else ("", "", "")
                if key:
                    file = tar.extractfile(member)
                    assert file is not None
                    assert dataset.image_bytes(key, role) == file.read()
    assert "f" * 32 not in dataset and "no key" not in dataset
    with pytest.raises(KeyError, match="no pair ffff"):
        dataset["f" * 32]


def test_rows_and_tables_are_the_manifests(sound: Path) -> None:
    dataset = Dataset(sound)
    whole = pq.read_table(sound / "manifest")
    assert dataset.to_arrow(["pair", "text"]).to_pydict() == whole.select(["pair", "text"]).to_pydict()
    assert dataset.to_pandas(["instruction"])["instruction"].tolist() == whole["instruction"].to_pylist()
    rows = list(dataset.rows())
    assert [row["scores"] for row in rows[::4]] == [{"mean_abs_diff": index / 10} for index in INDEXES]
    assert (len(dataset), len(rows)) == (12, 48)
    with pytest.raises(ValueError, match="no column nothing"):
        dataset.to_arrow(["nothing"])


def test_a_context_is_the_same_example_of_another_pair(sound: Path) -> None:
    pairs = list(Dataset(sound).pairs())
    context = pairs[1].example("reverse", "describe").context()
    assert context is not None
    assert (context.pair.key, context.direction, context.kind) == (pairs[0].key, "reverse", "describe")
    with pytest.raises(KeyError, match="no image 'mask', only input, target"):
        pairs[0].image("mask")


def test_an_unfinished_dataset_and_one_that_grows(root: Path) -> None:
    (root / "dataset.json").unlink()
    last = root / "manifest/derain-000002.parquet"
    last.rename(root / "set aside")
    dataset = Dataset(root)
    key = pq.read_table(root / "set aside")["pair"][0].as_py()
    assert len(dataset) == 8 and key not in dataset
    (root / "set aside").rename(last)
    assert len(dataset) == 12 and dataset[key].key == key


def test_it_is_pickled_and_read_from_any_url(sound: Path) -> None:
    dataset = Dataset(sound)
    copy = pickle.loads(pickle.dumps(dataset))
    key = next(dataset.pairs()).key
    make_dataset("memory://reader/derain")
    try:
        elsewhere = Dataset("memory://reader/derain")
        assert copy.image_bytes(key, "input") == dataset.image_bytes(key, "input")
        assert elsewhere.image_bytes(key, "input") == dataset.image_bytes(key, "input")
    finally:
        fsspec.filesystem("memory").rm("/reader", recursive=True)


def test_damage_is_one_line_that_names_the_file(root: Path) -> None:
    dataset = Dataset(root)
    first, *_, last = dataset.pairs()
    shard = root / "shards/derain-000000.tar"
    data = bytearray(shard.read_bytes())
    data[512 + 60 : 512 + 200] = bytes(140)  # in the pixels of the first image
    shard.write_bytes(data)
    with pytest.raises(
        DatasetError, match=rf"{re.escape(str(shard))} is damaged: image input of pair [^\n]*verify"
    ) as e:
        first.image("input")
    assert "\n" not in str(e.value)
    with open(root / "shards/derain-000002.tar", "r+b") as file:
        file.truncate(2_000)
    with pytest.raises(DatasetError, match=r"shards/derain-000002\.tar is missing or cut off: `[^\n]*`[^\n]*$"):
        last.image("target")
    (root / "manifest/derain-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"manifest/derain-000001\.parquet cannot be read: [^\n]*$"):
        list(dataset.rows())


def test_no_dataset_is_one_line(tmp_path: Path, sound: Path) -> None:
    with pytest.raises(DatasetError, match=r"is not a dataset directory: it has no plan\.parquet$"):
        len(Dataset(tmp_path))
    shutil.copytree(sound, tmp_path / "derain")
    with pytest.raises(DatasetError, match="the datasets derain are in it: name one of them"):
        list(Dataset(tmp_path).pairs())


def test_a_notebook_sees_pictures_and_escaped_texts(sound: Path) -> None:
    shown = Dataset(sound)._repr_html_()
    assert shown.count("data:image/jpeg;base64,") == 8
    assert "12 pairs, 48 examples, 3 rejects; finished" in shown
    assert "Take away the rain" in shown


def test_heavy_libraries_are_not_imported_with_it() -> None:
    code = (
        "import sys; from manifests import Dataset; print([m for m in ('torch', 'ray', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
