from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.schema import Pair
from operators.judge.arity import misfit
from operators.read.files import list_files
from pipelines.sources.edit_datasets import EDIT_DATASETS
from pipelines.sources.locate import locate, seen
from tests.edit_datasets import EDIT_FIXTURES, Written
from tests.readers import images, read_all

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


@pytest.mark.parametrize("name", EDIT_FIXTURES)
def test_without_one_of_its_columns_it_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    _, write, column = EDIT_FIXTURES[name]
    write(tmp_path, without=column)
    try:
        found = locate(EDIT_DATASETS, str(tmp_path), list_files(str(tmp_path)))
    except ValueError as error:
        assert "local_input_image" in str(error) and "\n" not in str(error)
    else:
        assert found is None


@pytest.mark.parametrize("name", EDIT_FIXTURES)
def test_no_layout_is_taken_for_another(name: str, tmp_path: Path) -> None:
    source, write, _ = EDIT_FIXTURES[name]
    write(tmp_path)
    listing = list_files(str(tmp_path))
    assert [one for one in EDIT_DATASETS if one.reader.located(str(tmp_path), listing)] == [source]


def _pixels(data: bytes) -> bytes:
    with PILImage.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).tobytes()
