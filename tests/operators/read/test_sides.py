from __future__ import annotations

import pytest

from operators.read.files import SourceFile
from operators.read.sides import looks_paired, side, sides_above


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
