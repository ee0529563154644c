from __future__ import annotations

import io
import re
import tarfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from operators.judge.arity import misfit
from operators.read.files import list_files
from pipelines.sources.edit_datasets import EDIT_DATASETS, OMNIEDIT
from pipelines.sources.locate import locate, seen
from pipelines.tasks.own_pairs import PAIRS
from tests.commands import ROOT
from tests.datasets import examples, make_dataset, params, rejects, stored_bytes
from tests.edit_datasets import EDIT_FIXTURES, write_hq_edit, write_omniedit, write_pico_banana
from tests.readers import images, read_all

_FORWARD = "forward", "generate"
_HAS_MORE = ("omniedit", "nhr_edit", "pico_banana", "pico_banana_preference")  # columns or files than are read
_CUT = "subjects200k"  # whose images are not stored as they are


@pytest.mark.parametrize("name", EDIT_FIXTURES)
def test_a_published_layout_is_found_and_its_pairs_are_what_was_published(name: str, tmp_path: Path) -> None:
    source, write, _ = EDIT_FIXTURES[name]
    written = write(tmp_path)
    listing = list_files(str(tmp_path))
    found = locate(EDIT_DATASETS, str(tmp_path), listing)
    assert found and (found.reader.source, found.reader.licence) == (source.reader.source, source.reader.licence)
    pairs, rejects = read_all(found.reader)
    assert not rejects
    assert [pair.source_ref for pair in pairs] == [one.ref for one in written]
    for pair, one in zip(pairs, written, strict=True):
        if name == _CUT:
            assert {role: _pixels(data) for role, data in images(pair).items()} == {
                role: _pixels(data) for role, data in one.images.items()
            }
        else:
            assert images(pair) == dict(one.images)
        assert list(images(pair)) == list(one.images)  # inputs in order, then the target
        assert dict(pair.texts) == dict(one.texts)
        assert dict(pair.scores) == dict(one.scores)
        step = pair.step("read")
        assert dict(step.params if step else {}) == dict(one.params)
        assert [(candidate.image.data, candidate.won) for candidate in pair.candidates] == (
            [(one.images["target"], True), *((data, False) for data in one.losers)] if one.losers else []
        )
        inputs = len(one.images) - 1
        assert not misfit(pair.texts["instruction"], inputs)
        assert images(pair).keys() <= found.reader.suffixes(list(found.reader.items(found.reader.listing()))).keys()
    assert len({pair.key for pair in pairs}) == len(pairs)
    said = seen(found, str(tmp_path), listing)
    assert "\n" not in said and "it takes " in said and found.layout in said
    assert ("not read: " in said) == (name in _HAS_MORE)


@pytest.mark.parametrize("name", EDIT_FIXTURES)
def test_without_one_of_its_columns_it_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    _, write, column = EDIT_FIXTURES[name]
    write(tmp_path, without=column)
    with suppress(ValueError):  # of Pico-Banana-400K, whose file as published lies beside
        assert locate(EDIT_DATASETS, str(tmp_path), list_files(str(tmp_path))) is None


@pytest.mark.parametrize("name", EDIT_FIXTURES)
def test_no_layout_is_taken_for_another(name: str, tmp_path: Path) -> None:
    source, write, _ = EDIT_FIXTURES[name]
    write(tmp_path)
    listing = list_files(str(tmp_path))
    assert [one for one in EDIT_DATASETS if one.reader.located(str(tmp_path), listing)] == [source]


@pytest.mark.parametrize(
    ("names", "both"),
    [
        (("seed_real", "seed_turns"), "SEED-Data-Edit-Part2 and SEED-Data-Edit-Part3"),
        (("imgedit", "imgedit_turns"), "ImgEdit and ImgEdit-multi-turn"),
        (("pico_banana", "pico_banana_turns"), "Pico-Banana-400K and Pico-Banana-400K-multi-turn"),
    ],
)
@pytest.mark.parametrize("place", ["", "published"])
def test_of_several_in_one_folder_a_user_says_which(
    names: tuple[str, str], both: str, place: str, tmp_path: Path
) -> None:
    written = {EDIT_FIXTURES[name][0].reader.source: EDIT_FIXTURES[name][1](tmp_path / place) for name in names}
    listing = list_files(str(tmp_path))
    with pytest.raises(ValueError, match=f"holds {both}: say which is to be read, as by --as "):
        locate(EDIT_DATASETS, str(tmp_path), listing)
    for source, pairs in written.items():
        found = locate(EDIT_DATASETS, str(tmp_path), listing, taken_as=source)
        assert found and [pair.source_ref for pair in read_all(found.reader)[0]] == [pair.ref for pair in pairs]


def test_test_splits_are_read_as_such_and_never_to_train_on(tmp_path: Path) -> None:
    write_omniedit(tmp_path)
    write_omniedit(tmp_path, split="dev")
    for split in ("train", "dev"):
        found = locate([OMNIEDIT], str(tmp_path), list_files(str(tmp_path)), split)
        assert found and [pair.source_ref for pair in read_all(found.reader)[0]] == [
            f"{split}-00000-of-00001.parquet#0"
        ]
    (tmp_path / "data/train-00000-of-00001.parquet").unlink()
    with pytest.raises(ValueError, match="laid out as the dev split of OmniEdit"):
        locate(EDIT_DATASETS, str(tmp_path), list_files(str(tmp_path)))


def test_a_file_of_urls_says_what_is_to_be_done_first(tmp_path: Path) -> None:
    write_pico_banana(tmp_path)
    (tmp_path / "sft_with_local_source_image_path.jsonl").unlink()
    with pytest.raises(ValueError, match=r"sft\.jsonl is of Pico-Banana-400K, .* run map_openimage_url_to_local\.py"):
        locate(EDIT_DATASETS, str(tmp_path), list_files(str(tmp_path)))


def test_every_record_says_how_it_is_obtained_and_what_it_is() -> None:
    for source in EDIT_DATASETS:
        assert source.layout and source.size and source.obtain and source.reader.licence
        assert "\n" not in f"{source.layout}{source.size}{source.obtain}"
        row = rf"^\| (?:.*, )?{re.escape(source.reader.source)}(?:, .*)? \| {re.escape(source.reader.licence)}"
        assert re.search(row, (ROOT / "infra/docs/edit-datasets.md").read_text(), re.MULTILINE), source.reader.source
    assert len({(source.reader.source, source.layout) for source in EDIT_DATASETS}) == len(EDIT_DATASETS)


@pytest.mark.parametrize("name", ["anyedit", "pico_banana_preference", "seed_turns"])
def test_the_task_pairs_makes_a_dataset_of_it_in_which_all_that_was_published_is_found(
    name: str, tmp_path: Path
) -> None:
    source, write, _ = EDIT_FIXTURES[name]
    written = write(tmp_path / "data")
    dataset = make_dataset(tmp_path / "out", tmp_path / "data", task=PAIRS)
    assert rejects(dataset) == []
    rows = {row["source_ref"]: row for row in examples(dataset) if (row["direction"], row["kind"]) == _FORWARD}
    assert rows.keys() == {one.ref for one in written}
    for one in written:
        row = rows[one.ref]
        assert (row["instruction"], row["licence"]) == (one.texts["instruction"], source.reader.licence)
        assert row["inputs"] == [role for role in one.images if role != "target"]
        assert {role: stored_bytes(dataset, row, role) for role in one.images} == one.images
        assert dict(one.params) == (params(row, "read") if one.params else {})
    store = dataset.store
    names = store.names("candidates") if store.exists("candidates") else []
    assert len(names) == any(one.losers for one in written)
    for losers in (one.losers for one in written if one.losers):
        with tarfile.open(fileobj=io.BytesIO(store.read(f"candidates/{names[0]}"))) as tar:
            stored = [tar.extractfile(member) for member in tar if member.name.endswith(".png")]
            assert [file.read() for file in stored if file][1:] == losers


def test_columns_that_a_user_names_are_no_published_dataset(tmp_path: Path) -> None:
    write_hq_edit(tmp_path)
    words = ["input=output_image", "target=input_image", "instruction=inverse_edit"]
    sources = PAIRS.reading({"columns": words}).sources
    found = locate(sources, str(tmp_path), list_files(str(tmp_path)))
    assert found and found.reader.source == "own pairs"
    known = locate(PAIRS.sources, str(tmp_path), list_files(str(tmp_path)))
    assert known and known.reader.source == "HQ-Edit"


def test_a_folder_above_a_known_one_is_read_unless_other_tables_lie_beside_it(tmp_path: Path) -> None:
    """Though no column of a table of the user's own was named, which is an error where nothing is known."""
    write_hq_edit(tmp_path / "downloads/HQ-Edit")
    listing = list_files(str(tmp_path))
    found = locate(PAIRS.sources, str(tmp_path), listing)
    assert found and found.reader.root == str(tmp_path / "downloads/HQ-Edit/data")
    write_omniedit(tmp_path / "OmniEdit")
    with pytest.raises(
        ValueError, match=r"holds OmniEdit in OmniEdit/data/, HQ-Edit in downloads/HQ-Edit/data/: point"
    ):
        locate(PAIRS.sources, str(tmp_path), list_files(str(tmp_path)))
    above = tmp_path / "beside"
    write_hq_edit(above / "HQ-Edit")
    (above / "x.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"holds HQ-Edit in HQ-Edit/data/, and x\.jsonl, which is not of it: point"):
        locate(PAIRS.sources, str(above), list_files(str(above)))


def _pixels(data: bytes) -> bytes:
    with PILImage.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).tobytes()
