from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torchmetrics.segmentation import MeanIoU

from operators.shared.palettes import encode_depth, encode_labels, encode_normals
from train.evaluate.dense_metrics import angles_deg, depth_rmse_m, inside_eigen_crop, overlaps
from train.evaluate.intervals import Sums

Overlaps = tuple[np.ndarray, np.ndarray, int]
RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("palette", ["rainbow", "unseen"])
def test_depth_rmse_is_that_of_the_metres(palette: str) -> None:
    wanted_m = RANDOM.uniform(1, 9, (40, 30)).astype(np.float32)
    found_m = wanted_m + RANDOM.normal(0, 0.3, wanted_m.shape).astype(np.float32)
    rmse_m = float(np.sqrt(np.mean((found_m - wanted_m) ** 2)))
    found = depth_rmse_m(encode_depth(found_m, palette), encode_depth(wanted_m, palette), palette)
    assert found == pytest.approx(rmse_m, abs=0.005)  # the palette's step is 8 mm


def test_pixels_without_depth_do_not_count_and_black_predictions_are_0_m() -> None:
    wanted_m = np.array([[np.nan, 2.0, 4.0, 4.0]], np.float32)
    found_m = np.array([[9.0, 2.0, np.nan, 4.0]], np.float32)
    assert depth_rmse_m(encode_depth(found_m), encode_depth(wanted_m)) == pytest.approx(math.sqrt(16 / 3), abs=0.01)
    assert math.isnan(depth_rmse_m(encode_depth(found_m), np.zeros((1, 4, 3), np.uint8)))


def test_the_borders_of_nyu_are_cropped_as_in_bts() -> None:
    """As eval_with_pngs.py of BTS has it for NYU-v2: rows 45 to 470 and columns 41 to 600 of 480 x 640."""
    inside = inside_eigen_crop(480, 640)
    expected = np.zeros((480, 640), bool)
    expected[45:471, 41:601] = True
    assert np.array_equal(inside, expected)
    # The middle square of 480 px, brought to 256 px: each pixel by the place that it was taken from
    places = ((np.arange(256) + 0.5) * 480 / 256).astype(int)
    assert np.array_equal(inside_eigen_crop(256, 256), expected[places][:, places + 80])
    with pytest.raises(ValueError, match="320 x 240 px are not"):
        inside_eigen_crop(240, 320)


def test_miou_is_torchmetrics() -> None:
    """Over two images, of which the second alone has some classes; class 0 is not judged."""
    rows = []
    metric = MeanIoU(num_classes=151, include_background=False, input_format="index", per_class=True)
    wanted_all, found_all = [], []
    for low, high in ((1, 40), (20, 60)):
        wanted = RANDOM.integers(low, high, (24, 32)).astype(np.uint8)
        found = np.where(RANDOM.random(wanted.shape) < 0.3, RANDOM.integers(1, 70, wanted.shape), wanted)
        rows.append(overlaps(encode_labels(found.astype(np.uint8)), encode_labels(wanted)))
        assert rows[-1][0].sum() / rows[-1][2] == pytest.approx((found == wanted).mean())
        wanted_all.append(wanted.astype(np.int64))
        found_all.append(found.astype(np.int64))
    metric.update(torch.from_numpy(np.concatenate(found_all)[None]), torch.from_numpy(np.concatenate(wanted_all)[None]))
    by_class = metric.compute()
    occurs = np.union1d(np.concatenate(wanted_all), np.concatenate(found_all)) - 1
    assert _miou(rows) == pytest.approx(float(by_class[torch.from_numpy(occurs)].mean()), abs=1e-6)


def test_unlabelled_pixels_do_not_count_and_black_predictions_are_wrong() -> None:
    wanted, found = np.array([[0, 1, 1, 2]], np.uint8), np.array([[5, 1, 0, 2]], np.uint8)
    both, either, labelled = overlaps(encode_labels(found), encode_labels(wanted))
    assert (both.sum(), labelled) == (2, 3)
    assert _miou([(both, either, labelled)]) == pytest.approx((1 / 2 + 1) / 2)
    assert math.isnan(_miou([overlaps(encode_labels(found), encode_labels(np.zeros_like(wanted)))]))


def _miou(rows: Sequence[Overlaps]) -> float:
    both, either = (np.array([row[place] for row in rows], np.float64) for place in (0, 1))
    return Sums(above=both, below=either).value()


def test_angles_are_those_of_the_vectors() -> None:
    wanted = RANDOM.standard_normal((30, 30, 3))
    found = wanted + RANDOM.normal(0, 0.3, wanted.shape)
    wanted, found = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (wanted, found))
    truth = np.rad2deg(np.arccos((wanted * found).sum(-1).clip(-1, 1)))
    angles = angles_deg(encode_normals(found.astype(np.float32)), encode_normals(wanted.astype(np.float32)))
    assert np.abs(angles - truth.ravel()).max() < 1.5
    assert angles.mean() == pytest.approx(truth.mean(), abs=0.05)


def test_pixels_without_a_normal_do_not_count_and_black_predictions_are_opposite() -> None:
    wanted = np.array([[[np.nan] * 3, [0, 0, 1], [0, 0, 1]]], np.float32)
    found = np.array([[[0, 0, 1], [np.nan] * 3, [0, 1, 0]]], np.float32)
    assert angles_deg(encode_normals(found), encode_normals(wanted)) == pytest.approx([180, 90], abs=0.5)
