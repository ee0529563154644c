from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.read.files import list_files
from operators.read.img2dataset import Img2Dataset
from pipelines.sources.datasets import LAION_AESTHETICS
from tests.fixtures import LAION_ROWS, write_laion
from tests.readers import count_bytes, images, located, read_all
from tests.sources import jpeg, write_files


@pytest.mark.parametrize("score", ["aesthetic", "AESTHETIC_SCORE"])
def test_downloaded_images_above_the_score_with_their_captions(score: str, tmp_path: Path) -> None:
    write_laion(tmp_path, score)
    pairs, rejects = read_all(_located(tmp_path))
    # In the tar's order, which is that of completion
    numbers = [3, 0, 1, 2, 4]
    assert [pair.source_ref for pair in pairs] == [f"00000.tar/00000{number:04d}" for number in numbers]
    for number, pair in zip(numbers, pairs, strict=True):
        assert images(pair) == {"target": jpeg(number)}
        assert pair.texts == {
            "caption": LAION_ROWS[number][2],
            "url": f"https://example.org/00000{number:04d}.jpg",
        }
        assert pair.scores == {"aesthetic": LAION_ROWS[number][1]}
    assert {item.ref[-2:]: (reject.reason, reject.message) for item, reject in rejects} == {
        "10": ("missing_member", "00000.tar has no image 000000010, though its Parquet file says so"),
        "11": ("damaged", "00000.tar is cut off inside 000000011"),
    }


def test_shards_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    write_laion(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / os.fsdecode(b"d\xe9"))
    pairs, _ = read_all(_located(tmp_path))
    assert len(pairs) == 5 and pairs[0].source_ref.startswith("d\\xe9/00000.tar/")


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    write_laion(tmp_path)
    reader = _located(tmp_path)
    assert reader.left_out(reader.listing()) == {
        "not downloaded": 2,
        "score not above 6": 3,
        "unfinished tars": 1,
    }


def test_planning_opens_no_tar_and_a_unit_reads_headers_and_its_own_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = located("laion", tmp_path)
    counts = count_bytes(monkeypatch)
    items = list(reader.items(reader.listing()))
    assert counts.keys() == {"00000.parquet"}
    counts.clear()
    reader.read(items[0], "text_to_image")
    reader.read(items[1], "text_to_image")
    members = 10 * 3
    assert counts["00000.tar"] <= len(jpeg(3)) + len(jpeg(0)) + 2 * 512 * members
    counts.clear()
    reader.read(items[2], "text_to_image")
    assert counts["00000.tar"] == len(jpeg(1))


def test_a_shard_without_its_tar_is_rejected_item_by_item(tmp_path: Path) -> None:
    write_laion(tmp_path)
    (tmp_path / "00000.tar").rename(tmp_path / "00002.tar")
    pairs, rejects = read_all(_located(tmp_path))
    assert pairs == []
    assert {reject.reason for _, reject in rejects} == {"missing"} and len(rejects) == 7


def test_bytes_that_are_no_tar_hold_no_images(tmp_path: Path) -> None:
    write_laion(tmp_path)
    write_files(tmp_path, {"00000.tar": b"not a tar" * 100})
    _, rejects = read_all(_located(tmp_path))
    assert {reject.reason for _, reject in rejects} == {"missing_member"}


def test_without_a_score_there_is_nothing_to_choose_by(tmp_path: Path) -> None:
    write_laion(tmp_path, "similarity")
    reader = _located(tmp_path)
    with pytest.raises(ValueError, match=r"needs the columns key, status and aesthetic or .*--save_add"):
        list(reader.items(reader.listing()))


def test_other_parquet_files_are_not_shards(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "notes.parquet")
    assert LAION_AESTHETICS.reader.located(str(tmp_path), list_files(str(tmp_path))) is None
    write_laion(tmp_path)
    reader = _located(tmp_path)
    assert len(list(reader.items(reader.listing()))) == 7


def _located(root: Path) -> Img2Dataset:
    reader = LAION_AESTHETICS.reader.located(str(root), list_files(str(root)))
    assert isinstance(reader, Img2Dataset)
    return reader
