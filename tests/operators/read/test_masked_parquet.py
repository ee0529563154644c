from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.images.pixels import decode_rgb
from manifests.schema import Pair
from operators.read.files import list_files
from pipelines.sources.datasets import MAGICBRUSH, ULTRAEDIT_REGION
from pipelines.sources.source import Source
from tests.fixtures import Written, write_magicbrush, write_ultraedit_region
from tests.readers import images, located, read_all
from tests.sources import HEIGHT_PX, WIDTH_PX


def test_masks_of_magicbrush_are_white_where_the_published_ones_are_transparent(tmp_path: Path) -> None:
    pairs, _ = read_all(located("magicbrush", tmp_path)[0])
    hole = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    hole[10:30, 12:36] = 255
    for pair in pairs:
        assert np.array_equal(decode_rgb(images(pair)["mask"]), np.dstack([hole] * 3))
        assert pair.scores == {"mask_area": 480 / 1920}
    # Turns 2 and 3 have masks of twice the size.
    assert [pair.steps[-1].params.get("from_px") for pair in pairs[:3]] == [None, [96, 80], [96, 80]]


def test_masks_of_ultraedit_keep_their_bytes(tmp_path: Path) -> None:
    reader, _ = located("ultraedit_region", tmp_path)
    first, second, third = read_all(reader)[0]
    rows = pq.read_table(tmp_path / "data/RegionBase-00000-of-00001.parquet").to_pylist()
    assert images(first)["mask"] == images(second)["mask"] == rows[0]["mask_image"]["bytes"]
    assert images(third).keys() == {"input", "target"} and "mask_area" not in third.scores
    assert reader.suffixes(list(reader.items(reader.listing())))["mask"] == "jpg"


@pytest.mark.parametrize(
    ("source", "write", "column"),
    [(MAGICBRUSH, write_magicbrush, "mask_img"), (ULTRAEDIT_REGION, write_ultraedit_region, "mask_image")],
)
def test_files_without_the_column_are_read_without_masks(
    source: Source, write: Callable[[Path], Written], column: str, tmp_path: Path
) -> None:
    write(tmp_path / "whole")
    (tmp_path / "less/data").mkdir(parents=True)
    for path in (tmp_path / "whole/data").iterdir():
        pq.write_table(pq.read_table(path).drop_columns([column]), tmp_path / "less/data" / path.name)
    (with_masks, whole), (without, less) = (_read(source, tmp_path / name) for name in ("whole", "less"))
    assert "mask" in with_masks and "mask" not in without
    assert [pair.key for pair in less] == [pair.key for pair in whole]
    assert all(images(pair).keys() == {"input", "target"} for pair in less)


def _read(source: Source, root: Path) -> tuple[Collection[str], list[Pair]]:
    """The roles that members have, and the pairs."""
    reader = source.reader.located(str(root), list_files(str(root)))
    assert reader
    return reader.suffixes(list(reader.items(reader.listing()))).keys(), read_all(reader)[0]
