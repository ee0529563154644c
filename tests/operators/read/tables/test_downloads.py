"""What img2dataset has downloaded, a folder for each column of images, in both of its formats."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.schema import Reject
from operators.read.column_pairs import OwnPairs
from operators.read.columns import Columns
from operators.read.files import list_files
from operators.read.img2dataset import _index
from operators.read.parquet import open_parquet
from tests.readers import images, read_all
from tests.sources import encode, jpeg, photo, write_files

FAILED = {("before", 1), ("after", 3)}
ROWS = 6


def write(root: Path, kind: str) -> None:
    """Two shards of three rows; an image of two rows could not be downloaded."""
    for folder in ("before", "after"):
        for shard in range(2):
            rows, files = [], {}
            for number in range(3 * shard, 3 * shard + 3):
                key = f"{shard:05d}{number % 3:04d}"
                done = (folder, number) not in FAILED
                if done:
                    files[f"{key}.jpg"] = picture(folder, number)
                url, status = f"https://{folder}/{number}", "success" if done else "failed_to_download"
                rows.append({"url": url, "key": key, "status": status, "prompt": f"edit {number}"})
            write_files(root / folder, {})
            if kind == "tar":
                (root / folder).mkdir(parents=True, exist_ok=True)
                with tarfile.open(root / folder / f"{shard:05d}.tar", "w") as tar:
                    for name, data in files.items():
                        info = tarfile.TarInfo(name)
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))
            else:
                write_files(root / folder / f"{shard:05d}", files)
            pq.write_table(pa.Table.from_pylist(rows), root / folder / f"{shard:05d}.parquet")
    open_parquet.cache_clear()
    _index.cache_clear()


def picture(folder: str, number: int) -> bytes:
    return jpeg(number) if folder == "before" else encode(255 - photo(number), "JPEG")


def reader(root: Path) -> OwnPairs:
    found = OwnPairs(columns=Columns.of("input=before target=after instruction=prompt")).located(
        str(root), list_files(str(root))
    )
    assert found
    return found


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_pairs_are_joined_by_row_and_what_failed_is_counted(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind)
    found = reader(tmp_path)
    pairs, rejects = read_all(found)
    assert not rejects
    kept = [number for number in range(ROWS) if number not in (1, 3)]
    assert [pair.texts["instruction"] for pair in pairs] == [f"edit {number}" for number in kept]
    assert [images(pair) for pair in pairs] == [
        {"input": picture("before", number), "target": picture("after", number)} for number in kept
    ]
    assert dict(found.left_out(found.listing())) == {"not downloaded": 2}
    assert pairs[0].source_ref == "before/00000.parquet/000000000"
    assert "not read: url" in found.told(found.listing())


def test_rows_of_another_list_are_rejected_and_unfinished_shards_left_out(tmp_path: Path) -> None:
    write(tmp_path, "tar")
    table = pq.read_table(tmp_path / "after/00000.parquet").to_pylist()
    table[0]["prompt"] = "another list"
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "after/00000.parquet")
    (tmp_path / "after/00001.parquet").unlink()
    open_parquet.cache_clear()
    found = reader(tmp_path)
    pairs, rejects = read_all(found)
    assert [(item.ref, reject.reason) for item, reject in rejects] == [("before/00000.parquet/000000000", "other_row")]
    assert len(pairs) == 1
    left_out = {"not downloaded": 1, "of a shard that is not finished in each folder": 3}
    assert dict(found.left_out(found.listing())) == left_out


def test_an_image_that_is_gone_is_rejected(tmp_path: Path) -> None:
    write(tmp_path, "folder")
    (tmp_path / "after/00000/000000000.jpg").unlink()
    _, rejects = read_all(reader(tmp_path))
    assert [reject.reason for _, reject in rejects] == ["missing"]
    with pytest.raises(Reject):
        reader(tmp_path).table("before/00009.parquet").row(0, ["prompt"])


def test_one_download_is_no_pairs(tmp_path: Path) -> None:
    write(tmp_path / "all", "tar")
    with pytest.raises(ValueError, match=r"\A[^\n]*a folder of its name for each column[^\n]*input=before[^\n]*\Z"):
        OwnPairs().located(str(tmp_path / "all"), list_files(str(tmp_path / "all")))
    with pytest.raises(ValueError, match="one image a row"):
        OwnPairs().located(str(tmp_path / "all/before"), list_files(str(tmp_path / "all/before")))
