from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.command import main
from manifests.images.evaluation import hash_folder, read_guard
from manifests.images.phash import phash
from tests.edits import make_edits
from tests.sources import encode, photo, write_files

PNG, JPEG = encode(photo(0, 280, 270)), encode(photo(1, 280, 270), "JPEG")
FLAT = encode(photo(0) * 0)


def test_all_images_below_the_folder_are_hashed(tmp_path: Path) -> None:
    files = {"input/1.PNG": PNG, "target/deep/1.jpg": JPEG, "notes.txt": b"x", "black.png": FLAT, "broken.png": b"x"}
    made = hash_folder(str(write_files(tmp_path / "set", files)), "rain100h", str(tmp_path / "guard.parquet"))
    assert made.images == 2
    assert [path for path, _ in made.unguarded] == ["black.png", "broken.png"]
    assert _rows(tmp_path) == [
        {"set": "rain100h", "path": "input/1.PNG", "phash": phash(PNG)},
        {"set": "rain100h", "path": "target/deep/1.jpg", "phash": phash(JPEG)},
    ]


def test_odd_names_are_hashed_and_hidden_files_are_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {os.fsdecode(b"caf\xe9.png"): PNG, "b.jpg": JPEG, "._b.jpg": b"x", ".ipynb_checkpoints/b.jpg": JPEG}
    files[os.fsdecode(b"broken\xff.png")] = b"x"
    folder = write_files(tmp_path / "set", files)
    assert main(["hashes", str(folder), "--name", "s", "--out", str(tmp_path / "guard.parquet")]) == 0
    assert [row["path"] for row in _rows(tmp_path)] == ["b.jpg", "caf\\xe9.png"]
    printed = capsys.readouterr()
    assert "2 images of s, 1 not guarded, 2 hidden files passed over" in printed.out
    assert printed.err.startswith("broken\\xff.png is not guarded: ")


def test_images_inside_hub_parquet_files_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "set/data").mkdir(parents=True)
    table = pa.table(
        {
            "id": [1, 2],
            "source_img": [{"bytes": PNG, "path": "1.png"}, {"bytes": JPEG, "path": None}],
            "mask_img": [None, {"bytes": FLAT, "path": None}],
        }
    )
    pq.write_table(table, tmp_path / "set/data/dev.parquet")
    made = hash_folder(str(tmp_path / "set"), "magicbrush", str(tmp_path / "guard.parquet"))
    assert [row["path"] for row in _rows(tmp_path)] == [f"data/dev.parquet#{row}.source_img" for row in (0, 1)]
    assert [path for path, _ in made.unguarded] == ["data/dev.parquet#1.mask_img"]


def test_sets_are_added_and_a_set_of_the_same_name_is_replaced(tmp_path: Path) -> None:
    out = str(tmp_path / "guard.parquet")
    for name, folder, file in (("b", "1", "x.png"), ("a", "2", "y.png"), ("b", "3", "z.png")):
        hash_folder(str(write_files(tmp_path / folder, {file: PNG})), name, out)
    assert [(row["set"], row["path"]) for row in _rows(tmp_path)] == [("a", "y.png"), ("b", "z.png")]


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = str(write_files(tmp_path / "set", {"1.png": PNG, "2.jpg": JPEG}))
    for name in ("one", "two"):
        hash_folder(folder, "set", str(tmp_path / name))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("files", [{}, {"a.txt": b"x"}, {"black.png": FLAT}, {"bad.parquet": b"x"}])
def test_a_folder_without_an_image_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=r"no image that can be hashed|not a complete Parquet file"):
        hash_folder(str(write_files(tmp_path / "set", files)), "x", str(tmp_path / "guard.parquet"))
    assert not (tmp_path / "guard.parquet").exists()


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    dataset = make_edits(tmp_path / "edits-test", ["a", "b", "c", "d"])  # two shards
    (tmp_path / "edits-test/manifest/edits-test-000001.parquet").unlink()
    with pytest.raises(ValueError, match="is unfinished"):
        hash_folder(dataset.url, "edits", str(tmp_path / "guard.parquet"))
    assert not (tmp_path / "guard.parquet").exists()


def test_another_parquet_file_is_not_overwritten(tmp_path: Path) -> None:
    pq.write_table(pa.table({"mine": [1]}), tmp_path / "guard.parquet")
    before = (tmp_path / "guard.parquet").read_bytes()
    with pytest.raises(ValueError, match="is not a guard file"):
        hash_folder(str(write_files(tmp_path / "set", {"1.png": PNG})), "x", str(tmp_path / "guard.parquet"))
    assert (tmp_path / "guard.parquet").read_bytes() == before


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "set", {"1.png": PNG, "black.png": FLAT})
    assert main(["hashes", "set", "--name", "lol", "--out", "guard.parquet"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "guard.parquet: 1 image of lol, 1 not guarded\n"
    assert printed.err == "black.png is not guarded: it is flat\n"
    assert len(_rows(tmp_path)) == 1
    assert main(["hashes", "nothing", "--name", "lol"]) == 2
    assert capsys.readouterr().err.startswith("xprompt hashes: ")


def _rows(folder: Path) -> list[dict[str, str]]:
    return read_guard((folder / "guard.parquet").read_bytes(), "guard.parquet")
