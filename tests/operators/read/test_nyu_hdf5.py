from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import decode_rgb
from manifests.schema import Item, Pair, Reject
from operators.base import Reader
from operators.read import nyu_hdf5 as read_nyu_hdf5
from operators.read.files import list_files
from operators.read.nyu_hdf5 import NyuLabeled
from tests.fixtures import NYU_DAMAGED, NYU_TRAIN, depth_mm, write_nyu_labeled
from tests.readers import count_bytes, images, located, read_all
from tests.sources import photo


def _reason(reader: Reader, item: Item) -> str:
    with pytest.raises(Reject) as caught:
        reader.read(item, "depth")
    return caught.value.reason


def _depth(pair: Pair) -> np.ndarray:
    return np.asarray(PILImage.open(io.BytesIO(images(pair)["target"])))


def test_the_labelled_training_images_the_right_way_up(tmp_path: Path) -> None:
    pairs, rejects = read_all(located("nyu_labeled", tmp_path)[0])
    numbers = [number - 1 for number in NYU_TRAIN if number != NYU_DAMAGED]
    assert [pair.source_ref for pair in pairs] == [f"nyu_depth_v2_labeled.mat#{number}" for number in numbers]
    for number, pair in zip(numbers, pairs, strict=True):
        assert np.array_equal(decode_rgb(images(pair)["input"]), photo(number))
        assert np.array_equal(_depth(pair), depth_mm(number))
        assert pair.images[1].mode == "I;16"
        assert pair.group == f"kitchen_000{number // 2}"
        assert [(step.operator, step.params) for step in pair.steps] == [
            ("from_hdf5", {"depths": "rawDepths"}),
            ("read", {"target": "depth_mm"}),
        ]
    assert [item.index for item, _ in rejects] == [NYU_DAMAGED - 1]


def test_depths_with_the_holes_filled(tmp_path: Path) -> None:
    write_nyu_labeled(tmp_path)
    reader = NyuLabeled(root=str(tmp_path), depths="depths")
    pair = read_all(reader)[0][0]
    assert np.array_equal(_depth(pair), np.where(depth_mm(0) > 0, depth_mm(0), 3000))


def test_only_the_images_of_the_unit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _ = located("nyu_labeled", tmp_path)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "a") as file:
        file["labels"] = np.zeros((64, 640, 480), np.uint16)  # like much else in it, of no use here
    items = list(reader.items(reader.listing()))
    counts = count_bytes(monkeypatch)
    read_nyu_hdf5._open.cache_clear()
    reader.read(items[0], "depth")
    assert 0 < counts["nyu_depth_v2_labeled.mat"] < 150_000 < items[0].bytes


def test_without_the_splits_the_test_images_would_be_trained_on(tmp_path: Path) -> None:
    write_nyu_labeled(tmp_path)
    (tmp_path / "splits.mat").unlink()
    with pytest.raises(ValueError, match=r"has nyu_depth_v2_labeled\.mat but not splits\.mat"):
        NyuLabeled().located(str(tmp_path), list_files(str(tmp_path)))


@pytest.mark.parametrize("name", ["images", "rawDepths", "#refs#/0"])
def test_no_terabytes_are_read_because_a_small_file_says_that_it_has_them(tmp_path: Path, name: str) -> None:
    reader, _ = located("nyu_labeled", tmp_path)
    item = next(iter(reader.items(reader.listing())))
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "a") as file:
        shape, kind = file[name].shape, file[name].dtype
        del file[name]
        made = file.create_dataset(name, (*shape[:-2], 2**20, 2**20), kind, chunks=(1,) * (len(shape) - 2) + (64, 64))
        if name.startswith("#refs#"):
            file["scenes"][0, item.index] = made.ref
    assert path.stat().st_size < 10**6
    read_nyu_hdf5._open.cache_clear()
    assert _reason(reader, item) == "too_large"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", ["rgb", "depth"])
def test_no_frame_is_read_that_is_larger_than_an_image(tmp_path: Path, name: str, chunked: bool) -> None:
    """Nor one of whose values a chunk is, which is decoded whole."""
    reader, _ = located("nyu_frames", tmp_path)
    item = next(iter(reader.items(reader.listing())))
    with h5py.File(Path(reader.root) / item.files[0], "a") as file:
        shape, kind = file[name].shape, file[name].dtype
        del file[name]
        large = (*shape[:-2], 2**15, 2**15)
        if chunked:
            file.create_dataset(name, shape, kind, chunks=large, maxshape=(None,) * len(shape))
        else:
            file.create_dataset(name, large, kind, chunks=shape)
    assert _reason(reader, item) == "too_large"


def test_frames_of_training_scenes_only(tmp_path: Path) -> None:
    pairs, rejects = read_all(located("nyu_frames", tmp_path)[0])
    assert [(pair.source_ref, pair.group) for pair in pairs] == [
        ("attic_0001/00001.h5", "attic_0001"),
        ("attic_0001/00006.h5", "attic_0001"),
        ("study_0008/00001.h5", "study_0008"),
    ]
    for number, pair in enumerate(pairs):
        assert np.array_equal(decode_rgb(images(pair)["input"]), photo(number))
        assert np.array_equal(_depth(pair), depth_mm(number))
    assert [item.ref for item, _ in rejects] == ["study_0008/00006.h5"]
