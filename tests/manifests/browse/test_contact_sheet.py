"""The sheet shows the asked number of pairs, of every task, with their own pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.browse.contact_sheet import contact_sheet, write_contact_sheet
from manifests.dataset import Dataset, DatasetError
from manifests.write.writer import UnitWriter
from tests.manifests.make import SUFFIXES, make_dataset, make_pair, make_plan, photo
from tests.sources import lossless


def _open(png: bytes) -> PILImage.Image:
    return PILImage.open(io.BytesIO(png)).convert("RGB")


def test_one_pair_is_shown_input_beside_target(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=1)
    sheet = _open(contact_sheet(str(tmp_path), pairs=5))
    # An image is fitted into 216 x 216 px, 64 x 48 becomes 216 x 162; the margin is 16, the gap between two is 8.
    left_px, top_px = 16, 16 + (216 - 162) // 2
    for column, pixels in enumerate((photo(0) // 2, photo(0))):
        box = (left_px + column * 224, top_px, left_px + column * 224 + 216, top_px + 162)
        shown = np.asarray(sheet.crop(box).resize((8, 6), PILImage.Resampling.BOX), np.float32)
        stored = np.asarray(PILImage.fromarray(pixels).resize((8, 6), PILImage.Resampling.BOX), np.float32)
        assert np.abs(shown - stored).mean() < 2


def test_a_mask_stands_between_input_and_target(tmp_path: Path) -> None:
    dataset = Dataset(f"{tmp_path}/derain")
    plan = make_plan(dataset, units=1, pairs=1)
    pair = make_pair("derain", dataset.unit(plan, 0).items[0])
    mask = np.zeros_like(photo(0))
    mask[:, 32:] = 255
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        writer.add(replace(pair, images=(*pair.images, lossless("mask", mask))))
    writer.commit({}, 0, {})
    sheet = np.asarray(_open(contact_sheet(str(tmp_path), pairs=1)), np.int64)
    middle = sheet[16 + 108, 16 : 16 + 440]
    # Three shares of (440 - 2 * 8) // 3 = 141 px, each filled by its image: black, then white in the second.
    assert (middle[149 + 5 : 149 + 65] < 16).all() and (middle[149 + 76 : 149 + 136] > 240).all()


def test_grid_grows_with_pairs_and_seed_picks_others(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=2, pairs=10)
    make_dataset(f"{tmp_path}/lowlight", task="lowlight", units=1, pairs=10)
    four, seven = (contact_sheet(str(tmp_path), pairs=pairs) for pairs in (4, 7))
    assert _open(four).size == (3 * 440 + 4 * 16, 2 * (216 + 54 + 16) + 16)
    assert _open(seven).size == (3 * 440 + 4 * 16, 3 * (216 + 54 + 16) + 16)
    assert contact_sheet(str(tmp_path), pairs=4) == four
    assert contact_sheet(str(tmp_path), pairs=4, seed=1) != four


def test_nothing_committed_is_an_error(tmp_path: Path) -> None:
    make_plan(Dataset(f"{tmp_path}/derain"))
    with pytest.raises(DatasetError, match="no committed pair"):
        write_contact_sheet(str(tmp_path), tmp_path / "sheet.png", pairs=4)
    assert not (tmp_path / "sheet.png").exists()
