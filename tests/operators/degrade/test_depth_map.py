"""Depth maps against transformers' own pipeline, and their colours by hand."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject
from operators.arrange.colour_dense import ColourDense
from operators.degrade import depth_map
from operators.degrade.depth_map import DepthMap
from tests.sources import lossless, pair_of, photo
from tests.tiny import run_one, tiny_models


@pytest.mark.parametrize(("width_px", "height_px"), [(160, 112), (90, 133), (20, 30)])
def test_it_is_what_transformers_pipeline_finds(width_px: int, height_px: int) -> None:
    """Its gray picture, which is white where it is near; and its numbers, coloured by hand."""
    pixels = photo(0, width_px, height_px)
    models = tiny_models("depth-anything")
    expected = _estimator(f"{models}/depth-anything")(PILImage.fromarray(pixels))
    pair = run_one(DepthMap().bound(models), pair_of(lossless("target", pixels)), 1)
    gray = np.asarray(expected["depth"], np.int32)
    assert gray.shape == (height_px, width_px) and gray.std() > 20
    assert np.abs(_raw(pair) // 257 - gray).max() <= 1
    inverse = expected["predicted_depth"].numpy().astype(np.float64)
    nearness = (inverse - inverse.min()) / (inverse.max() - inverse.min())
    assert np.abs(_raw(pair) - nearness * 65_535).max() < 1
    coloured = decode_rgb(ColourDense()(pair, 1).images[1].data).astype(np.int32)
    assert np.abs(coloured - _rainbow(nearness)).max() <= 1


def test_near_is_red_and_far_is_violet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of depth in metres. Inverse depths of 1, 2, 3 and 5 are 1, 3/4, 1/2 and 0 of the way to violet."""
    _finding(monkeypatch, np.array([[5, 3], [2, 1]], np.float32))
    pair = run_one(DepthMap(), pair_of(lossless("target", np.zeros((2, 2, 3), np.uint8))), 1)
    assert _raw(pair).tolist() == [[65_535, 32_768], [16_384, 0]]
    coloured = decode_rgb(ColourDense()(pair, 1).images[1].data)
    # Step 637 of 1,275 is 127 after green, 510; step 956 is 191 after cyan, 765.
    assert coloured.tolist() == [[[255, 0, 0], [0, 255, 127]], [[0, 64, 255], [255, 0, 255]]]


@pytest.mark.parametrize("inverse", [[[0, 0], [0, 0]], [[7, 7], [7, 7]], [[7, 7], [7, 6.95]]])
def test_a_photo_without_depth_is_rejected(inverse: list[list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    _finding(monkeypatch, np.array(inverse, np.float32))
    with pytest.raises(Reject, match="all of it is equally far") as reject:
        run_one(DepthMap(), pair_of(lossless("target", np.zeros((2, 2, 3), np.uint8))), 1)
    assert reject.value.reason == "flat_depth"


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_the_networks_fault_and_not_the_photos(
    number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finding(monkeypatch, np.array([[1, 2], [3, number]], np.float32))
    with pytest.raises(Reject, match="the network of depths gives what is no finite number") as reject:
        run_one(DepthMap(), pair_of(lossless("target", np.zeros((2, 2, 3), np.uint8))), 1)
    assert reject.value.reason == "not_finite"


def _estimator(folder: str) -> Any:
    from transformers import pipeline

    return pipeline("depth-estimation", model=folder, device="cpu")


def _finding(monkeypatch: pytest.MonkeyPatch, inverse: np.ndarray[Any, Any]) -> None:
    """Let the network find these inverse depths in any photo."""
    import torch

    class Processor:
        def __call__(self, **given: Any) -> Any:
            return self

        def to(self, device: str) -> dict[str, Any]:
            return {}

        def post_process_depth_estimation(self, found: Any, target_sizes: Any) -> list[dict[str, Any]]:
            return [{"predicted_depth": torch.tensor(found.inverse)}]

    class Network(SimpleNamespace):
        def __call__(self) -> Any:
            return self

    network = Network(device="cpu", inverse=inverse)
    monkeypatch.setattr(depth_map, "_network", lambda folder: (Processor(), network))


def _raw(pair: Pair) -> np.ndarray[Any, Any]:
    with PILImage.open(io.BytesIO(pair.images[1].data)) as opened:
        return np.asarray(opened).astype(np.int32)


def _rainbow(nearness: np.ndarray[Any, Any]) -> Pixels:
    """Red, yellow, green, cyan, blue, violet: in between one channel goes up or down by one a step."""
    step = np.rint((1 - nearness) * 1275).astype(int)
    since = [np.clip(step - start, 0, 255) for start in range(0, 1275, 255)]  # steps of each of the five parts
    red = 255 - since[1] + since[4]
    green = since[0] - since[3]
    blue = since[2]
    return np.dstack([red, green, blue])
