from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.schema import Item
from operators.read.chosen_edits import ChosenEdits
from operators.read.files import list_files
from pipelines.sources.datasets import INSTRUCTPIX2PIX
from tests.fixtures import write_instructpix2pix
from tests.readers import images, read_all


def test_the_list_is_of_edits_that_add_or_remove_and_is_the_same_everywhere(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path / "a")
    write_instructpix2pix(tmp_path / "elsewhere/b")
    first, again = _chosen(tmp_path / "a"), _chosen(tmp_path / "elsewhere/b")
    assert first == again and len(first) == 100
    said = {
        f"{path.name}#{row}": text
        for path in sorted((tmp_path / "a/data").iterdir())
        for row, text in enumerate(pq.read_table(path).column("edit_prompt").to_pylist())
    }
    # By the words that the fixture's instructions begin with, not by the classifier
    wanted = {ref for ref, text in said.items() if text and text.startswith(("add ", "remove "))}
    assert {item.ref for item in first} < wanted and len(wanted) > 100
    assert {item.files[0][:11] for item in first} == {f"train-0000{number}" for number in range(4)}


def test_another_seed_is_another_list(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path)
    assert {item.ref for item in _chosen(tmp_path)} != {item.ref for item in _chosen(tmp_path, seed=1)}


def test_a_row_is_a_pair_with_its_captions(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path)
    pairs, rejects = read_all(_located(tmp_path))
    assert len(pairs) == 100 and rejects == []
    name, row = pairs[0].source_ref.split("#")
    stored = pq.read_table(tmp_path / "data" / name).to_pylist()[int(row)]
    assert images(pairs[0]) == {
        "input": stored["original_image"]["bytes"],
        "target": stored["edited_image"]["bytes"],
    }
    assert pairs[0].texts["instruction"] == stored["edit_prompt"]
    assert pairs[0].steps[0].params == {
        "source_caption": stored["original_prompt"],
        "target_caption": stored["edited_prompt"],
    }


def test_without_all_the_files_it_would_be_another_list(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path)
    next((tmp_path / "data").glob("train-00002*")).unlink()
    with pytest.raises(ValueError, match=r"has 3 of the 4 files .* download the others"):
        _chosen(tmp_path)


def test_another_revision_of_the_dataset_is_refused(tmp_path: Path) -> None:
    write_instructpix2pix(tmp_path)
    pq.write_table(pa.table({"edit_prompt": ["add a cat"]}), next((tmp_path / "data").glob("train-00002*")))
    with pytest.raises(ValueError, match="InstructPix2Pix needs the columns edited_image, original_image"):
        _chosen(tmp_path)


def _located(root: Path, seed: int = 0) -> ChosenEdits:
    reader = INSTRUCTPIX2PIX.reader
    assert isinstance(reader, ChosenEdits) and reader.seed == 0
    found = ChosenEdits(**{**vars(reader), "seed": seed}).located(str(root), list_files(str(root)))
    assert found
    return found


def _chosen(root: Path, seed: int = 0) -> list[Item]:
    reader = _located(root, seed)
    return list(reader.items(reader.listing()))
