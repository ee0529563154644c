from __future__ import annotations

import pytest

from operators.read.files import SourceFile
from operators.read.sides import looks_paired, may_be_sides, side, sides_above


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("input", "input"),
        ("Low", "low"),
        ("rainy_image", "rainy"),
        ("ground truth", "groundtruth"),
        ("GT", "gt"),
        ("train_gt", "gt"),
        ("blur_gamma", "blur"),
        ("no_rain", "norain"),
        ("expertC", "expertc"),
        ("hazy", "hazy"),
        ("annotations", "annotations"),
        ("Rain13K", ""),
        ("Rain1400", ""),
        ("high mountains", ""),
        ("2019", ""),
        ("DIV2K_train_HR", ""),
        ("\u65e5\u672c", ""),
        ("", ""),
    ],
)
def test_the_names_that_sides_of_pairs_have(name: str, word: str) -> None:
    assert side(name) == word


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["low/1.png", "high/1.png"], "high/ in it"),
        (["deep/er/hazy/1.png"], "deep/er/hazy/ in it"),
        (["x/a.png", "x/b.png", "y/a.jpg", "y/b.jpg"], "x/ and y/ in it"),
        (["p/x/s/a.png", "p/x/s/b.png", "p/y/s/a.jpg", "p/y/s/b.jpg", "p/y/s/c.jpg"], "p/x/ and p/y/ in it"),
        (["x/dark1.png", "x/dark2.png", "y/light1.png", "y/light2.png"], ""),
        (["x/low1.png", "x/low2.png", "y/normal1.png", "y/normal2.png"], "x/ and y/ in it"),
        (["rain-1.png", "norain-1.png"], "as norain-1 and rain-1"),
        (["s/0001_GT_SRGB_010.PNG", "s/0001_NOISY_SRGB_010.PNG"], "of s/ in it"),
        (["ADE_1.jpg", "ADE_1_seg.png"], "as ADE_1 and ADE_1_seg"),
        (["1_before.png", "1_after.png"], "as 1_after and 1_before"),
        (["2019/IMG_1.jpg", "2020/IMG_1.jpg"], ""),
        (["2019/1.jpg", "2019/2.jpg", "2019/3.jpg", "2020/3.jpg", "2020/4.jpg", "2020/5.jpg"], ""),
        (["a.jpg", "b.jpg", "clear-lake.jpg", "lake.jpg", "c.jpg", "d.jpg"], ""),
        (["\u65e5\u672c.jpg", "\u65e5\u5149.jpg", "\xe9t\xe9.jpg"], ""),
        (["low/readme.txt", "high/readme.txt"], ""),
        (["1Input.png", "1Target.png"], "as 1Input and 1Target"),
        (["t/1_A.png", "t/1_B.png", "t/2_A.png", "t/2_B.png"], "two by two, as 1_A and 1_B"),
        (["t/a.jpg", "t/a.png", "t/b.jpg", "t/b.png"], "two images called a"),
        (["I01.png", "I01_01_1.png", "I02.png", "I02_01_1.png"], "two by two, as I01 and I01_01_1"),
        (["IMG_1.jpg", "IMG_1-Edit.jpg", "IMG_2.jpg", "IMG_2-Edit.jpg"], "as IMG_1 and IMG_1-Edit"),
        (["data/1_rain.png", "data/2_rain.png"], "one side of pairs, as 1_rain"),
        (["VE-Low_train/low1.png", "VE-Normal_train/normal1.png"], "VE-Low_train/ and VE-Normal_train/ in it"),
        (["D2K_train_HR/1.png", "D2K_train_LR_x/X2/1x2.png"], "D2K_train_LR_x/ in it"),
        (["leftImg8bit/a/1.png", "leftImg8bit_rain/a/2.png"], "leftImg8bit/ and leftImg8bit_rain/ in it"),
        (["real_world/1/1_1.png", "real_world_gt/1.png"], "real_world_gt/ in it"),
        (["raw_photos/a.dng", "raw_photos/b.dng", "c/a.tif", "c/b.tif"], "c/ and raw_photos/ in it"),
        (["1.jpg", "2.jpg", "export/1.jpg", "export/2.jpg"], "export/ in it has files of the same names"),
        (["coco/t/1.jpg", "coco/t/2.jpg", "coco/maps7/t/1.png", "coco/maps7/t/2.png"], "coco/maps7/t/ in it"),
        (["gtFine/a/1.png"], "gtFine/ in it"),
        (["fivek/expert_c/1.tif"], "fivek/expert_c/ in it"),
        (["Paris/IMG_1.jpg", "Paris night/IMG_2.jpg"], ""),
        (["1_1.jpg", "1_2.jpg", "2_1.jpg", "2_2.jpg"], ""),
        (["IMG_1.jpg", "IMG_2.jpg", "DSC_3.jpg", "DSC_3 (1).jpg"], ""),
        (["trip.jpg", "trip_1.jpg", "trip_2.jpg", "trip_3.jpg"], ""),
        (["IMG_1.jpg", "IMG_2.jpg", "more/IMG_2.jpg", "more/IMG_3.jpg"], ""),
        (["a.jpg"], ""),
    ],
)
def test_what_looks_paired(paths: list[str], shown: str) -> None:
    files = [SourceFile(path=path, bytes=1, modified_s=0.0) for path in sorted(paths)]
    why = looks_paired("/photos", files)
    assert (shown in why) if shown else why == ""


def test_a_root_that_is_one_side_looks_paired() -> None:
    files = [SourceFile(path="1.png", bytes=1, modified_s=0.0)]
    assert "its name, input, is that of one side" in looks_paired("/data/Rain13K/input/", files)
    assert [*sides_above("/FiveK/input/JPG/480p")] == [("input", "/FiveK")]
    assert [*sides_above("/photos/2019")] == []


@pytest.mark.parametrize(
    ("name", "other", "alike"),
    [
        ("trainA", "trainB", True),
        ("train", "GT", True),
        ("noisy25", "original_png", True),
        ("raw-890", "reference-890", True),
        ("2019", "2020", False),
        ("cats", "dogs", False),
    ],
)
def test_folders_that_may_be_sides_if_their_files_have_the_same_names(name: str, other: str, alike: bool) -> None:
    assert may_be_sides(name, other) == may_be_sides(other, name) == alike
