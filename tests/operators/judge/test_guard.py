from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.evaluation import hash_folder, read_guard
from manifests.images.phash import phash
from manifests.images.pixels import Pixels, stored
from manifests.schema import Pair, Reject
from operators.judge.guard import Guard
from pipelines.prepare import prepare
from tests.datasets import examples, make_dataset, reasons
from tests.sources import encode, encode_image, lossless, pair_of, photo, write_files


@pytest.fixture
def guard_file(tmp_path: Path) -> str:
    """Two evaluation sets of one photo each."""
    out = str(tmp_path / "guard.parquet")
    for name, index in (("rain100h", 0), ("lol", 1)):
        folder = write_files(tmp_path / name, {"input/1.png": encode(_photo(index))})
        hash_folder(str(folder), name, out)
    return out


def test_an_evaluation_image_is_rejected_in_whatever_encoding_and_named(guard_file: str) -> None:
    for index, name in ((0, "rain100h"), (1, "lol")):
        data = encode(_photo(index), "JPEG", quality=50)
        with pytest.raises(Reject) as caught:
            Guard.of(guard_file)(pair_of(lossless("input", _photo(2)), stored("target", data)), 0)
        assert caught.value.reason == "evaluation_image"
        assert caught.value.message == f"target shows input/1.png of the evaluation set {name}"
        assert caught.value.scores["phash_distance"] <= 4


def test_a_mask_guards_nothing_and_is_not_guarded_against(tmp_path: Path) -> None:
    """A test set's folder of masks, as MagicBrush's zip file has them beside the images: shapes are alike by chance."""
    mask = np.zeros_like(_photo(0))
    mask[40:120, 60:160] = 255
    folder, out = write_files(tmp_path / "test", {"mask1.png": encode(mask)}), str(tmp_path / "guard.parquet")
    hash_folder(str(folder), "magicbrush", out)
    guard, images = Guard.of(out), (lossless("input", _photo(1)), lossless("target", _photo(2)))
    assert guard(pair_of(*images, lossless("mask", mask)), 0).steps
    with pytest.raises(Reject):  # the hash is one that is found
        guard(pair_of(*images, lossless("reference", mask)), 0)


def test_the_dataset_of_a_test_split_guards_training(tmp_path: Path) -> None:
    """A test pair that lies among the training data too, in another encoding and size, is not trained on."""
    write_files(tmp_path / "data", _pair_files("test/Rain100H", "1.png", _photo(0)))
    write_files(tmp_path / "data", _pair_files("train/Rain13K", "a.png", _photo(1)))
    leaked = np.asarray(PILImage.fromarray(_photo(0)).resize((200, 210), PILImage.Resampling.BOX))
    write_files(tmp_path / "data", _pair_files("train/Rain13K", "b.png", leaked))
    options = {"data": str(tmp_path / "data"), "split": "Rain100H"}
    test = make_dataset(tmp_path / "test", None, reader=prepare("derain", options).reader)
    assert test.plan().test_split == "Rain100H"
    guard = str(tmp_path / "guard.parquet")
    assert hash_folder(test.url, "Rain100H", guard).images == 2  # input and target of the one pair
    prepared = prepare("derain", {"data": str(tmp_path / "data"), "guard": guard})
    trained = make_dataset(tmp_path / "train", None, task=prepared.task, reader=prepared.reader)
    assert [row["source_ref"] for row in examples(trained)] == ["input/a.png"] * 2
    assert reasons(trained) == {"input/b.png": "evaluation_image"}


def test_the_colours_of_depth_guard_nothing(tmp_path: Path) -> None:
    """Depth maps of two rooms may be alike: it is the photos that are kept out."""
    depth = np.full(_photo(0).shape[:2], 3_000, np.uint16)
    data = write_files(
        tmp_path / "data/test/attic",
        {"rgb_1.png": encode(_photo(0)), "sync_depth_1.png": encode_image(PILImage.fromarray(depth))},
    )
    for task, photo_role in (("depth", "input"), ("depth2img", "target")):
        prepared = prepare(task, {"data": str(data.parents[1]), "split": "test"})
        test = make_dataset(tmp_path / "out", None, task=prepared.task, reader=prepared.reader)
        guard = tmp_path / f"{task}.parquet"
        assert hash_folder(test.url, task, str(guard)).images == 1
        (row,) = read_guard(guard.read_bytes(), "guard")
        assert row["path"].endswith(f".{photo_role}") and row["phash"] == phash(encode(_photo(0)))


def test_other_and_flat_images_pass_with_a_step(guard_file: str) -> None:
    flat = photo(0) * 0
    pair = pair_of(lossless("input", flat), lossless("target", _photo(2)))
    guard = Guard.of(guard_file)
    (step,) = guard(pair, 0).steps
    assert (step.operator, step.params) == ("guard", {"sha256": guard.sha256, "max_distance": 4})


def test_the_fingerprint_depends_on_the_content(guard_file: str, tmp_path: Path) -> None:
    before = asdict(Guard.of(guard_file))
    assert before == asdict(Guard.of(guard_file))
    hash_folder(str(write_files(tmp_path / "more", {"a.png": encode(_photo(5))})), "more", guard_file)
    after = asdict(Guard.of(guard_file))
    assert before["path"] == after["path"] and before["sha256"] != after["sha256"]


def test_a_guard_file_that_changed_after_the_plan_stops_the_unit(guard_file: str, tmp_path: Path) -> None:
    planned = Guard(path=guard_file, sha256="0" * 64)
    with pytest.raises(OSError, match="its content has changed"):
        planned(_any_pair(), 0)
    gone = Guard(path=str(tmp_path / "gone.parquet"), sha256="0" * 64)
    with pytest.raises(FileNotFoundError):
        gone(_any_pair(), 0)


def test_what_is_no_guard_file_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"x.parquet": b"x"})
    with pytest.raises(ValueError, match=r"x\.parquet is not a guard file"):
        Guard.of(str(tmp_path / "x.parquet"))


@pytest.mark.parametrize("distance", [-1, 9])
def test_distances_are_0_to_8(guard_file: str, distance: int) -> None:
    with pytest.raises(ValueError, match="0 to 8"):
        Guard.of(guard_file, max_distance=distance)


def test_an_image_that_cannot_be_read_is_named_by_its_role(guard_file: str) -> None:
    data = encode(_photo(2), "JPEG")
    with pytest.raises(Reject) as caught:
        Guard.of(guard_file)(pair_of(stored("input", data[: len(data) // 2])), 0)
    assert caught.value.reason == "truncated" and caught.value.message.startswith("input: ")


def _pair_files(folder: str, name: str, pixels: Pixels) -> dict[str, bytes]:
    return {f"{folder}/input/{name}": encode(pixels // 2), f"{folder}/target/{name}": encode(pixels)}


def _photo(index: int) -> Pixels:
    return photo(index, 280, 270)


def _any_pair() -> Pair:
    return pair_of(lossless("target", _photo(2)))
