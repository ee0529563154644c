from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from manifests.images.evaluation import hash_folder
from manifests.images.pixels import Pixels, stored
from manifests.schema import Pair, Reject
from operators.judge.guard import Guard
from tests.sources import encode, lossless, pair_of, photo, write_files


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


def _photo(index: int) -> Pixels:
    return photo(index, 280, 270)


def _any_pair() -> Pair:
    return pair_of(lossless("target", _photo(2)))
