"""Test splits of sources: each published layout by hand, the split that was asked for and nothing else of it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image as PILImage
from scipy.io import savemat

from manifests.schema import Pair
from operators.base import Reader
from operators.read.files import list_files
from operators.read.split import TRAIN, split_of
from pipelines.run.plan import find_source
from pipelines.sources.locate import locate
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN
from tests.fixtures import depth_mm, normals_rgb, write_magicbrush
from tests.readers import read_all
from tests.sources import encode, encode_image, jpeg, photo, write_files

_GRAY = encode(np.full((40, 48), 3, np.uint8))
_DEPTH = encode_image(PILImage.fromarray(depth_mm(0)))


def _pairs(*folders: tuple[str, str], count: int, data: tuple[bytes, bytes] = (jpeg(0), jpeg(1))) -> dict[str, bytes]:
    """Files of pairs: `count` in each of the folders."""
    return {
        f"{side}/{number}.png": file
        for folder in folders
        for number in range(count)
        for side, file in zip(folder, data, strict=True)
    }


LAYOUTS: Mapping[str, tuple[str, Mapping[str, bytes], Mapping[str, Sequence[str]]]] = {
    "ADE20K": (
        "segmentation",
        {
            **_pairs(("images/training", "annotations/training"), count=1, data=(jpeg(0), _GRAY)),
            **_pairs(("images/validation", "annotations/validation"), count=2, data=(jpeg(0), _GRAY)),
        },
        {"train": ["images/training/0.png"], "validation": ["images/validation/0.png", "images/validation/1.png"]},
    ),
    "LOL": (
        "lowlight",
        _pairs(("our485/low", "our485/high"), count=1) | _pairs(("eval15/low", "eval15/high"), count=2),
        {"train": ["low/0.png"], "test": ["low/0.png", "low/1.png"]},
    ),
    "LOLv1 repacked": (
        "lowlight",
        _pairs(("LOLv1/Train/input", "LOLv1/Train/target"), count=1)
        | _pairs(("LOLv1/Test/input", "LOLv1/Test/target"), count=2),
        {"train": ["input/0.png"], "test": ["input/0.png", "input/1.png"]},
    ),
    "LOL-v2 real": (
        "lowlight",
        _pairs(("LOL-v2/Real_captured/Train/Low", "LOL-v2/Real_captured/Train/Normal"), count=1)
        | _pairs(("LOL-v2/Real_captured/Test/Low", "LOL-v2/Real_captured/Test/Normal"), count=2),
        {"train": ["Low/0.png"], "test": ["Low/0.png", "Low/1.png"]},
    ),
    "LOL-v2 synthetic": (
        "lowlight",
        _pairs(("Synthetic/Train/Low", "Synthetic/Train/Normal"), count=1)
        | _pairs(("Synthetic/Test/Low", "Synthetic/Test/Normal"), count=2),
        {"train": ["Low/0.png"], "test": ["Low/0.png", "Low/1.png"]},
    ),
    "GoPro": (
        "deblur",
        _pairs(("train/GOPR1_01/blur", "train/GOPR1_01/sharp"), count=1)
        | _pairs(("test/GOPR2_01/blur", "test/GOPR2_01/sharp"), count=2),
        {"train": ["GOPR1_01/blur/0.png"], "test": ["GOPR2_01/blur/0.png", "GOPR2_01/blur/1.png"]},
    ),
    "GoPro gamma": (
        "deblur",
        _pairs(("train/GOPR1_01/blur_gamma", "train/GOPR1_01/sharp"), count=1)
        | _pairs(("test/GOPR2_01/blur_gamma", "test/GOPR2_01/sharp"), count=1),
        {"train": ["GOPR1_01/blur_gamma/0.png"], "test": ["GOPR2_01/blur_gamma/0.png"]},
    ),
    "GoPro repacked": (
        "deblur",
        _pairs(("train/input", "train/target"), count=1) | _pairs(("test/GoPro/input", "test/GoPro/target"), count=2),
        {"train": ["input/0.png"], "test": ["input/0.png", "input/1.png"]},
    ),
    "Rain13K": (
        "derain",
        _pairs(("train/Rain13K/input", "train/Rain13K/target"), count=1)
        | _pairs(("test/Rain100H/input", "test/Rain100H/target"), count=2)
        | _pairs(("test/Rain100L/input", "test/Rain100L/target"), count=1),
        {
            "train": ["input/0.png"],
            "Rain100H": ["input/0.png", "input/1.png"],
            "Rain100L": ["input/0.png"],
            "test": ["Rain100H/input/0.png", "Rain100H/input/1.png", "Rain100L/input/0.png"],
        },
    ),
    "FiveK": (
        "retouch",
        _pairs(("train/input", "train/target"), count=1) | _pairs(("test/input", "test/target"), count=2),
        {"train": ["input/0.png"], "test": ["input/0.png", "input/1.png"]},
    ),
    "FiveK 480p": (
        "retouch",
        {**_pairs(("input/JPG/480p", "expertC/JPG/480p"), count=3), "test.txt": b"1\n2\n"},
        {
            "train": [f"input/JPG/480p/{number}.png" for number in range(3)],  # all 5,000, as Tab. 6 counts
            "test": [f"input/JPG/480p/{number}.png" for number in (1, 2)],
        },
    ),
    "NYU sync": (
        "depth",
        {
            "sync/kitchen/rgb_1.jpg": jpeg(0),
            "sync/kitchen/sync_depth_1.png": _DEPTH,
            "official_splits/test/attic/rgb_2.jpg": jpeg(1),
            "official_splits/test/attic/sync_depth_2.png": _DEPTH,
        },
        {"train": ["kitchen/rgb_1.jpg"], "test": ["attic/rgb_2.jpg"]},
    ),
    "ScanNet": (
        "normal",
        {
            "scannet-frames/scene0016_00/frame-000010-color.png": encode(photo(0)),
            "scannet-frames/scene0016_00/frame-000010-normal.png": encode(normals_rgb(0)),
            "dsine_eval/scannet/scene0532_00/000000_img.png": encode(photo(1)),
            "dsine_eval/scannet/scene0532_00/000000_normal.png": encode(normals_rgb(1)),
            "dsine_eval/scannet/scene0532_00/000000_intrins.npy": b"not read",
        },
        {"train": ["scene0016_00/frame-000010-color.png"], "test": ["scene0532_00/000000_img.png"]},
    ),
    "NYU normals": (
        "normal",
        {
            f"dsine_eval/nyuv2/{split}/00000{number}_{kind}.png": data
            for split in ("train", "test")
            for number in range(2)
            for kind, data in (("img", encode(photo(number))), ("normal", encode(normals_rgb(number))))
        },
        {"test": ["test/000000_img.png", "test/000001_img.png"]},
    ),
    "VITON-HD": (
        "tryon",
        {
            f"{split}{path}": jpeg(1) if path.endswith("jpg") else b"1.jpg 2.jpg\n"
            for split in ("train", "test")
            for path in ("_pairs.txt", "/image/1.jpg", "/cloth/1.jpg", "/agnostic-v3.2/1.jpg")
        },
        {"train": ["1.jpg"], "test": ["1.jpg"]},
    ),
}
"""Name -> task, files, and the references of the items of each split."""


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for name, (_, _, splits) in LAYOUTS.items() for split in splits]
)
def test_only_the_split_that_is_asked_for_is_read(name: str, split: str, tmp_path: Path) -> None:
    task, files, splits = LAYOUTS[name]
    reader = _reader(task, write_files(tmp_path, files), split)
    assert split_of(reader) == split
    assert [item.ref for item in reader.items(reader.listing())] == splits[split]
    pairs, rejects = read_all(reader)
    assert [pair.source_ref for pair in pairs] == splits[split] and rejects == []


@pytest.mark.parametrize(
    ("name", "folder", "split"),
    [
        ("LOL", "eval15", "test"),
        ("LOLv1 repacked", "LOLv1/Test", "test"),
        ("LOL-v2 real", "LOL-v2/Real_captured/Test", "test"),
        ("GoPro", "test", "test"),
        ("GoPro gamma", "test", "test"),
        ("GoPro repacked", "test/GoPro", "test"),
        ("Rain13K", "test/Rain100H", "Rain100H"),
        ("FiveK", "test", "test"),
        ("NYU sync", "official_splits/test", "test"),
    ],
)
def test_the_folder_of_a_test_split_is_read_as_one_and_never_to_train_on(
    name: str, folder: str, split: str, tmp_path: Path
) -> None:
    task, files, splits = LAYOUTS[name]
    below = write_files(tmp_path, files) / folder
    reader = _reader(task, below, split)
    assert [item.ref for item in reader.items(reader.listing())] == splits[split]
    with pytest.raises(ValueError, match=f"laid out as the {split} split of .* --split {split} reads it") as caught:
        _reader(task, below, TRAIN)
    assert "\n" not in str(caught.value) and str(below) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["ADE20K", "LOL", "LOL-v2 synthetic", "GoPro", "Rain13K", "NYU sync", "VITON-HD", "NYU normals"]
)
def test_a_root_with_the_test_split_alone_is_not_taken_for_photos(name: str, tmp_path: Path) -> None:
    task, files, splits = LAYOUTS[name]
    tests = ("eval15", "test", "validation", "official_splits", "Synthetic/Test", "dsine_eval")
    kept = {path: data for path, data in files.items() if any(part in path for part in tests)}
    with pytest.raises(ValueError, match="laid out as the"):
        _reader(task, write_files(tmp_path, kept), TRAIN)
    split = next(split for split in splits if split != "train")
    assert split_of(_reader(task, tmp_path, split)) == split


def test_a_folder_that_is_a_training_set_or_a_test_split_by_its_layout_needs_a_name(tmp_path: Path) -> None:
    """low/ and high/ side by side would be photos of both kinds."""
    _, files, _ = LAYOUTS["LOL"]
    copied = {path.replace("our485", "mine"): data for path, data in files.items() if path.startswith("our485")}
    below = write_files(tmp_path, copied) / "mine"
    for split in ("train", "test"):
        with pytest.raises(ValueError, match=r"laid out as LOL v1, but its name does not say .* Give it a name"):
            _reader("lowlight", below, split)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("LOL", "our485"),
        ("LOLv1 repacked", "LOLv1/Train"),
        ("LOL-v2 real", "LOL-v2/Real_captured/Train"),
        ("LOL-v2 synthetic", "Synthetic/Train"),
        ("GoPro", "train"),
        ("GoPro gamma", "train"),
        ("GoPro repacked", "train"),
        ("Rain13K", "train/Rain13K"),
        ("Rain13K", "train"),
        ("FiveK", "train"),
        ("NYU sync", "sync"),
    ],
)
def test_the_folder_of_a_training_set_is_read_to_train_on_and_never_as_a_test_split(
    name: str, folder: str, tmp_path: Path
) -> None:
    task, files, splits = LAYOUTS[name]
    below = write_files(tmp_path, files) / folder
    reader = _reader(task, below, TRAIN)
    assert [item.ref for item in reader.items(reader.listing())] == splits[TRAIN]
    for split in splits.keys() - {TRAIN}:
        with pytest.raises(ValueError, match=r"DATA: ") as caught:
            _reader(task, below, split)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "train", "test", "split"),
    [
        ("derain", ("input", "target"), ("test/Rain100H/input", "test/Rain100H/target"), "Rain100H"),
        ("deblur", ("input", "target"), ("test/GoPro/input", "test/GoPro/target"), "test"),
        ("retouch", ("input", "target"), ("test/input", "test/target"), "test"),
    ],
)
def test_a_test_split_beside_training_pairs_at_the_root_is_told_from_them(
    task: str, train: tuple[str, str], test: tuple[str, str], split: str, tmp_path: Path
) -> None:
    write_files(tmp_path / "both", _pairs(train, count=1) | _pairs(test, count=2))
    counts = {name: len(_read(task, tmp_path / "both", name)) for name in (TRAIN, split)}
    assert counts == {TRAIN: 1, split: 2}
    write_files(tmp_path / "alone", _pairs(train, count=1))
    with pytest.raises(ValueError, match="its name does not say whether to train on it"):
        _reader(task, tmp_path / "alone", split)


def test_one_test_set_is_not_read_as_another(tmp_path: Path) -> None:
    _, files, _ = LAYOUTS["Rain13K"]
    with pytest.raises(ValueError, match=r"the Rain100L split lies in Rain100L or test/Rain100L"):
        _reader("derain", write_files(tmp_path, files) / "test/Rain100H", "Rain100L")


@pytest.mark.parametrize("name", ["LOL-v2 real", "LOL-v2 synthetic", "LOLv1 repacked"])
def test_a_folder_on_the_way_to_both_splits_has_both(name: str, tmp_path: Path) -> None:
    """Real_captured/ was taken for photos, dark ones and test images among them."""
    task, files, splits = LAYOUTS[name]
    way = {"LOL-v2 real": "LOL-v2/Real_captured", "LOL-v2 synthetic": "Synthetic", "LOLv1 repacked": "LOLv1"}[name]
    source = {"LOL-v2 real": "LOL v2 real", "LOL-v2 synthetic": "LOL v2 synthetic", "LOLv1 repacked": "LOL v1"}[name]
    write_files(tmp_path, files)
    for split, refs in splits.items():
        reader = _reader(task, tmp_path / way, split)
        assert (reader.source, [item.ref for item in reader.items(reader.listing())]) == (source, refs)


def test_magicbrush_has_dev_on_the_hub_and_test_in_a_zip_file(tmp_path: Path) -> None:
    write_magicbrush(tmp_path / "hub")
    pairs = _read("magicbrush", tmp_path / "hub", "dev")
    assert {pair.source_ref.partition("#")[0] for pair in pairs} == {"dev-00000-of-00001-0000000000000000.parquet"}
    place = {pair.source_ref.partition("#")[2]: pair.steps[0].params for pair in pairs}
    assert place["2"] == {"session": "100", "turn": 3}
    assert all("read" not in [step.operator for step in pair.steps] for pair in _read("magicbrush", tmp_path / "hub"))

    (tmp_path / "zip").mkdir()
    turns = b'[{"input": "7-input.png", "mask": "7-mask1.png", "output": "7-output1.png", "instruction": "add a cat"}]'
    files = {
        "edit_turns.json": turns,
        "images/7/7-input.png": encode(photo(0)),
        "images/7/7-output1.png": encode(photo(1)),
    }
    write_files(tmp_path / "zip/test", files)
    (pair,) = _read("magicbrush", tmp_path / "zip", "test")
    assert (pair.group, pair.texts["instruction"]) == ("7", "add a cat")
    with pytest.raises(ValueError, match="which is for evaluation alone"):
        _reader("magicbrush", tmp_path / "zip", TRAIN)


def test_the_654_labelled_images_of_nyu_are_those_that_splits_mat_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = np.stack([photo(index).transpose(2, 1, 0) for index in range(4)])
        file["rawDepths"] = np.stack([depth_mm(index).T / np.float32(1000) for index in range(4)])
        scenes = file.create_dataset("scenes", (1, 4), dtype=h5py.ref_dtype)
        scenes[0, :] = file.create_dataset("scene", data=np.array([[ord("a")]], np.uint16)).ref
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[2]]), "testNdxs": np.array([[1], [4]])})
    pairs = {split: _read("depth", tmp_path, split) for split in (TRAIN, "test")}
    numbers = {split: [pair.source_ref.partition("#")[2] for pair in found] for split, found in pairs.items()}
    assert numbers == {"train": ["1"], "test": ["0", "3"]}
    pixels = np.asarray(PILImage.open(io.BytesIO(pairs["test"][1].images[0].data)))
    assert np.array_equal(pixels, photo(3))


def test_frames_of_nyu_for_testing_are_below_val(tmp_path: Path) -> None:
    for name in ("train/attic_0001/00001", "val/official/00001", "val/official/00002"):
        path = tmp_path / f"nyudepthv2/{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["rgb"], file["depth"] = photo(0).transpose(2, 0, 1), depth_mm(0) / np.float32(1000)
    assert [pair.source_ref for pair in _read("depth", tmp_path)] == ["attic_0001/00001.h5"]
    assert [pair.source_ref for pair in _read("depth", tmp_path, "test")] == ["official/00001.h5", "official/00002.h5"]
    with pytest.raises(ValueError, match="--split test reads it"):
        _reader("depth", tmp_path / "nyudepthv2/val", TRAIN)


def test_a_split_that_no_source_has_is_refused_with_those_that_they_have(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.jpg": jpeg(0)})
    with pytest.raises(
        ValueError, match=r"--split dev: no source here has it\. Rain13K has test, Rain100H, .*photos has none"
    ):
        _reader("derain", tmp_path, "dev")
    with pytest.raises(ValueError, match="UltraEdit has none"):
        _reader("ultraedit", tmp_path, "test")
    with pytest.raises(ValueError, match="needs DATA"):
        find_source(OUR_TASKS["derain"], None, split="test")
    with pytest.raises(ValueError, match=r"nothing that derain can read\. It reads test/<set>/input/") as caught:
        _reader("derain", tmp_path, "test")
    assert "photos" not in str(caught.value)


@pytest.mark.parametrize("has_data", [False, True])
def test_a_task_that_only_evaluation_has_says_so(has_data: bool, tmp_path: Path) -> None:
    write_magicbrush(tmp_path)
    with pytest.raises(ValueError, match="instructpix2pix has no sources to train on, only to test with: --split test"):
        find_source(OUR_TASKS["instructpix2pix"], str(tmp_path) if has_data else None)


def test_a_list_that_is_missing_is_named(tmp_path: Path) -> None:
    write_files(tmp_path, _pairs(("FiveK/input/JPG/480p", "FiveK/expertC/JPG/480p"), count=1))
    with pytest.raises(ValueError, match=r"lacks FiveK/test\.txt"):
        _reader("retouch", tmp_path, "test")


def test_photos_beside_no_test_split_are_photos_as_ever(tmp_path: Path) -> None:
    write_files(tmp_path, {"test/a.jpg": jpeg(0), "b.jpg": jpeg(1)})
    found = locate(OUR_TASKS["lowlight"].sources, str(tmp_path), list_files(str(tmp_path)))
    assert found and found.reader.source == "photos"


def _named(*names: str) -> dict[str, bytes]:
    return dict.fromkeys(names, jpeg(0))


def _at(levels: Sequence[str], items: list[tuple[str, ...]]) -> dict[str, list[tuple[str, ...]]]:
    """The same items at several levels of a tree."""
    return dict.fromkeys(levels, items)


LEVELS: Mapping[str, tuple[str, Mapping[str, bytes], Mapping[str, Sequence[tuple[str, ...]]]]] = {
    "Rain100H, all in one folder": (
        "derain",
        _named("rain-1.png", "norain-1.png", "rain-2.png", "norain-2.png"),
        {"": [("rain-1.png", "norain-1.png"), ("rain-2.png", "norain-2.png")]},
    ),
    "Rain100H, its authors' folders": (
        "derain",
        _named("rain_data_train_Heavy/rain/norain-1x2.png", "rain_data_train_Heavy/norain/norain-1.png"),
        _at(("", "rain_data_train_Heavy"), [("rain/norain-1x2.png", "norain/norain-1.png")]),
    ),
    "Rain13K of marked names": (
        "derain",
        _named(
            *(f"train/Rain13K/{side}-{name}" for side in ("input/rain", "target/norain") for name in ("1.png", "2.png"))
        )
        | _named("train/Rain13K/input/3.png", "train/Rain13K/target/3.png", "test/Rain100H/input/1.png"),
        _at(
            ("", "train", "train/Rain13K"),
            [
                ("input/rain-1.png", "target/norain-1.png"),
                ("input/rain-2.png", "target/norain-2.png"),
                ("input/3.png", "target/3.png"),
            ],
        ),
    ),
    "Rain13K in capitals": (
        "derain",
        _named("Input/1.png", "Target/1.png"),
        {"": [("Input/1.png", "Target/1.png")]},
    ),
    "Rain1400": (
        "derain",
        _named("x/rainy_image/1_1.jpg", "x/rainy_image/1_14.jpg", "x/ground_truth/1.jpg", "x/ground_truth/2.jpg"),
        _at(
            ("", "x"),
            [
                ("rainy_image/1_1.jpg", "ground_truth/1.jpg"),
                ("rainy_image/1_14.jpg", "ground_truth/1.jpg"),
                ("", "ground_truth/2.jpg"),
            ],
        ),
    ),
    "LOL v2 in other letters": (
        "lowlight",
        _named(
            *(
                f"lol-v2/real_captured/{split}/{side}1.png"
                for split in ("train", "test")
                for side in ("low/low", "normal/normal")
            )
        ),
        _at(
            ("", "lol-v2", "lol-v2/real_captured", "lol-v2/real_captured/train"),
            [("low/low1.png", "normal/normal1.png")],
        ),
    ),
    "SIDD": (
        "denoise",
        _named(*(f"S/Data/0001_001_S6/0001_{kind}_SRGB_01{take}.PNG" for kind in ("GT", "NOISY") for take in (0, 1)))
        | _named("S/Data/0002_001_S6/GT_SRGB_010.PNG", "S/Data/0002_001_S6/NOISY_SRGB_010.PNG"),
        {
            **_at(
                ("", "S", "S/Data"),
                [
                    ("0001_001_S6/0001_NOISY_SRGB_010.PNG", "0001_001_S6/0001_GT_SRGB_010.PNG"),
                    ("0001_001_S6/0001_NOISY_SRGB_011.PNG", "0001_001_S6/0001_GT_SRGB_011.PNG"),
                    ("0002_001_S6/NOISY_SRGB_010.PNG", "0002_001_S6/GT_SRGB_010.PNG"),
                ],
            ),
            "S/Data/0002_001_S6": [("0002_001_S6/NOISY_SRGB_010.PNG", "0002_001_S6/GT_SRGB_010.PNG")],
        },
    ),
    "LOL below folders of another name": (
        "lowlight",
        _pairs(("my/sets/our485/low", "my/sets/our485/high"), ("my/sets/eval15/low", "my/sets/eval15/high"), count=1),
        _at(("", "my", "my/sets", "my/sets/our485"), [("low/0.png", "high/0.png")]),
    ),
    "GoPro": (
        "deblur",
        _pairs(("G/train/A_1/blur", "G/train/A_1/sharp"), ("G/test/B_1/blur", "G/test/B_1/sharp"), count=1),
        _at(("", "G", "G/train", "G/train/A_1"), [("A_1/blur/0.png", "A_1/sharp/0.png")]),
    ),
    "ScanNet": (
        "normal",
        _named(
            *(
                f"f/scene0000_0{scan}/frame-{frame}-{kind}.png"
                for scan in "01"
                for frame in ("1", "2_3")
                for kind in ("color", "normal")
            )
        ),
        {
            "f/scene0000_01": [
                (f"scene0000_01/frame-{frame}-color.png", f"scene0000_01/frame-{frame}-normal.png")
                for frame in ("1", "2_3")
            ]
        },
    ),
    "NYU sync": (
        "depth",
        _named("s/sync/attic/rgb_1.jpg", "s/sync/attic/sync_depth_1.png"),
        _at(("", "s", "s/sync", "s/sync/attic"), [("attic/rgb_1.jpg", "attic/sync_depth_1.png")]),
    ),
    "VITON-HD": (
        "tryon",
        {
            "v/train_pairs.txt": b"\xef\xbb\xbf1.jpg 2.jpg\r\n\xe9.jpg 1.jpg\r\n",
            **_named(*(f"v/train/{folder}/1.jpg" for folder in ("agnostic-v3.2", "cloth", "image"))),
        },
        _at(
            ("", "v", "v/train"),
            [("train/agnostic-v3.2/1.jpg", "train/cloth/1.jpg", "train/image/1.jpg"), ("", "", "")],
        ),
    ),
}
"""Name -> task, files, and the files of the items by the folder that is DATA."""


@pytest.mark.parametrize(
    ("name", "level"), [(name, level) for name, (_, _, levels) in LEVELS.items() for level in levels]
)
def test_a_layout_is_read_from_every_level_of_its_tree(name: str, level: str, tmp_path: Path) -> None:
    task, files, levels = LEVELS[name]
    reader = _reader(task, write_files(tmp_path / "sub", files) / level)
    items = list(reader.items(reader.listing()))
    assert sorted(item.files for item in items) == sorted(levels[level])
    assert all((Path(reader.root) / path).is_file() for item in items for path in item.files if path)


@pytest.mark.parametrize(
    ("task", "folder", "why"),
    [
        ("derain", "a/input", "its name, input, is that of one side of pairs"),
        ("denoise", "a/input", "its name, input, is that of one side of pairs"),
        ("derain", "a/input/JPG/480p", "it lies in input/, beside which there is target/"),
        ("lowlight", "b", "dark/ in it has the name of one side of pairs"),
        ("derain", "c", "x/ and y/ in it have files of the same names"),
        ("retouch", "d", "as 0001_GT_SRGB_010 and 0001_NOISY_SRGB_010"),
        ("composition", "c", "x/ and y/ in it have files of the same names"),
        ("pose", "c", "x/ and y/ in it have files of the same names"),
        ("derain", "e", "has files in input/ but none in target/ beside it"),
    ],
)
def test_what_looks_paired_is_refused_in_one_line_that_says_how_to_insist(
    task: str, folder: str, why: str, tmp_path: Path
) -> None:
    write_files(
        tmp_path,
        _named("a/input/JPG/480p/1.jpg", "a/target/JPG/480p/1.jpg", "b/dark/1.jpg", "b/2.jpg", "e/input/1.jpg")
        | _named(*(f"c/{side}/{number}.jpg" for side in "xy" for number in (1, 2)))
        | _named("d/0001_GT_SRGB_010.PNG", "d/0001_NOISY_SRGB_010.PNG"),
    )
    with pytest.raises(ValueError, match="--as photos") as caught:
        _reader(task, tmp_path / folder)
    assert why in str(caught.value) and "\n" not in str(caught.value)
    found = find_source(OUR_TASKS[task], str(tmp_path / folder), taken_as="photos")
    assert found.reader.root == str(tmp_path / folder)


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("HIDE/train", "train/ and GT/ beside it have files of the same names"),
        ("EUVP/trainA", "trainA/ and trainB/ beside it have files of the same names"),
        ("SPA/real_world", "real_world/ and real_world_gt/ beside it have the names of two sides"),
        ("city_rain/train/aachen", "city_rain/ and city/ beside it have the names of two sides"),
        ("HIDE/test/near", "test/ is to test with"),
        ("own", "own/test/ in it is to test with, beside own/train/"),
    ],
)
def test_a_folder_that_is_one_side_by_what_lies_beside_it_is_refused(folder: str, why: str, tmp_path: Path) -> None:
    write_files(
        tmp_path,
        _named(*(f"HIDE/{side}/{number}.png" for side in ("train", "GT", "test/near") for number in (1, 2)))
        | _named(*(f"EUVP/{side}/{number}.png" for side in ("trainA", "trainB") for number in (1, 2)))
        | _named("SPA/real_world/1_1.png", "SPA/real_world_gt/1.png")
        | _named("city_rain/train/aachen/1.png", "city/train/aachen/2.png")
        | _named("own/own/train/1.png", "own/own/test/2.png"),
    )
    with pytest.raises(ValueError, match="--as photos") as caught:
        _reader("deblur", tmp_path / folder)
    assert why in str(caught.value)


def test_the_clean_side_and_albums_of_the_same_numbers_are_photos(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        _named("DIV2K_train_HR/1.png", "DIV2K_train_LR_x/1.png", "2019/IMG_1.png", "2019/IMG_2.png")
        | _named("2020/IMG_1.png", "2020/IMG_2.png"),
    )
    (tmp_path / "2019 again").symlink_to(tmp_path / "2019")
    for folder in ("DIV2K_train_HR", "2019"):
        assert _reader("denoise", tmp_path / folder).source == "photos"


def test_the_low_resolutions_in_a_published_set_of_photos_are_no_photos(tmp_path: Path) -> None:
    sets = _named("Flickr2K/1.png", "WaterlooED/1.bmp", "BSD400/1.png", "DIV2K/DIV2K_train_HR/1.png")
    write_files(tmp_path, sets)
    assert _reader("denoise", tmp_path).source == "DFWB"
    write_files(tmp_path, _named("DIV2K/DIV2K_train_LR_bicubic/X2/1x2.png"))
    with pytest.raises(ValueError, match=r"DIV2K_train_LR_bicubic/ in it.*--as photos"):
        _reader("denoise", tmp_path)
    assert find_source(OUR_TASKS["denoise"], str(tmp_path), taken_as="DFWB").reader.source == "DFWB"


def test_a_folder_called_test_is_not_trained_on_whichever_set_it_is_of(tmp_path: Path) -> None:
    write_files(tmp_path, _named("Rain200H/test/rain/X2/norain-1x2.png", "Rain200H/test/norain/norain-1.png"))
    with pytest.raises(ValueError, match="test is what test splits are called"):
        _reader("derain", tmp_path / "Rain200H/test")


def test_pairs_that_are_no_published_layout_are_read_as_the_source_that_a_user_names(tmp_path: Path) -> None:
    write_files(tmp_path, _pairs(("mine/low", "mine/high"), ("eval15/low", "eval15/high"), count=2))
    reader = find_source(OUR_TASKS["lowlight"], str(tmp_path / "mine"), taken_as="LOL v1").reader
    assert [item.ref for item in reader.items(reader.listing())] == ["low/0.png", "low/1.png"]
    with pytest.raises(ValueError, match="laid out as the test split"):  # named or not
        find_source(OUR_TASKS["lowlight"], str(tmp_path / "eval15"), taken_as="LOL v1")
    with pytest.raises(ValueError, match="--as LOL v3: did you mean LOL v1"):
        find_source(OUR_TASKS["lowlight"], str(tmp_path / "mine"), taken_as="LOL v3")
    with pytest.raises(ValueError, match="--as photos says what DATA is taken as, and needs one"):
        find_source(OUR_TASKS["lowlight"], None, taken_as="photos")


def test_several_layouts_below_data_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    write_files(tmp_path, _pairs(("a/input", "a/target"), ("b/input", "b/target"), count=1))
    with pytest.raises(ValueError, match=r"holds Rain13K in a/, Rain13K in b/: point DATA at one of them"):
        _reader("derain", tmp_path)


def test_a_test_set_in_its_authors_folder_is_read_as_one_and_never_to_train_on(tmp_path: Path) -> None:
    write_files(tmp_path, _named("Rain100H/rainy/rain-001.png", "Rain100H/norain-001.png"))
    reader = _reader("derain", tmp_path / "Rain100H", "Rain100H")
    assert [item.files for item in reader.items(reader.listing())] == [("rainy/rain-001.png", "norain-001.png")]
    for name in ("Rain100H", "rain100h"):
        write_files(tmp_path, _named(f"{name}/rainy/rain-001.png", f"{name}/norain-001.png"))
        with pytest.raises(ValueError, match="--split Rain100H reads it"):
            _reader("derain", tmp_path / name)


def test_one_photo_of_rain_is_a_photo(tmp_path: Path) -> None:
    write_files(tmp_path, _named("rain-forest.jpg", "a.jpg", "rain-1.jpg"))
    assert _reader("derain", tmp_path).source == "photos"


def test_what_was_found_is_told_in_full(tmp_path: Path) -> None:
    write_files(tmp_path / "photos", _named("1.jpg", "2.jpg", ".ipynb_checkpoints/1.jpg") | {"a.txt": b"x"})
    assert find_source(DERAIN, str(tmp_path / "photos")).seen == (
        f"{tmp_path}/photos taken as a folder of clean photos, 1 hidden files and folders passed over: "
        "3 files taken as clean photos, 1 of them without the ending of an image (txt)"
    )
    write_files(tmp_path / "rain", _pairs(("train/Rain13K/input", "train/Rain13K/target"), count=1))
    assert find_source(DERAIN, str(tmp_path / "rain")).seen == (
        f"{tmp_path}/rain taken as input/ and target/ (also below train/, Rain13K/ or train/Rain13K/): read from "
        "train/Rain13K/"
    )
    write_magicbrush(tmp_path / "hub")
    assert find_source(OUR_TASKS["magicbrush"], str(tmp_path / "hub")).seen.endswith(
        "read from data/; it takes source_img as input, target_img as target, mask_img as mask, instruction; other "
        "Parquet files, not read: 1 (as dev-00000-of-00001-0000000000000000.parquet)"
    )
    with pytest.raises(ValueError, match=r"\.parquet has the columns img_id, turn_index, source_img, mask_img"):
        _reader("ultraedit", tmp_path / "hub")


def _reader(task: str, data: Path, split: str = TRAIN) -> Reader:
    return find_source(OUR_TASKS[task], str(data), split=split).reader


def _read(task: str, data: Path, split: str = TRAIN) -> list[Pair]:
    pairs, rejects = read_all(_reader(task, data, split))
    assert rejects == []
    return pairs
