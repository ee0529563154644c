"""Surface normals against diffusers' own pipeline and picture, and of planes by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as PILImage

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject
from operators.arrange.colour_dense import ColourDense
from operators.arrange.dense import dense, read_step
from operators.degrade import normal_map
from operators.degrade.normal_map import NormalMap
from tests.sources import encode, lossless, pair_of, photo
from tests.tiny import run_one, tiny_models


@pytest.mark.parametrize(("width_px", "height_px"), [(120, 80), (90, 133), (20, 30)])
def test_it_is_what_diffusers_pipeline_paints(width_px: int, height_px: int) -> None:
    """With two axes turned, by diffusers' own switches: from up and towards the viewer to down and away from it."""
    import torch
    from diffusers import MarigoldNormalsPipeline

    models, pixels = tiny_models("marigold-normals"), photo(0, width_px, height_px)
    pipe = MarigoldNormalsPipeline.from_pretrained(f"{models}/marigold-normals")
    found = pipe(PILImage.fromarray(pixels), generator=torch.Generator().manual_seed(7))
    (picture,) = pipe.image_processor.visualize_normals(found.prediction, flip_y=True, flip_z=True)
    expected = np.asarray(picture, np.int32)
    pair = run_one(NormalMap().bound(models), pair_of(lossless("target", pixels)), 7)
    assert expected.shape == (height_px, width_px, 3) and expected.std() > 30
    assert np.abs(decode_rgb(pair.images[1].data).astype(np.int32) - expected).max() <= 1  # diffusers cuts off
    assert np.abs(_coloured(pair).astype(np.int32) - expected).max() <= 2  # ColourDense rounds once more
    other = run_one(NormalMap().bound(models), pair_of(lossless("target", pixels)), 8)
    assert other.images[1].data != pair.images[1].data


def test_floors_and_walls_have_the_colours_that_they_have_in_scannet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marigold's x is to the right, y up, z towards the viewer; in FrameNet's files a normal n is 0.5 - n / 2, with x
    to the right, y down, z away from the viewer."""
    marigold = {"floor": (0, 1, 0), "wall in front": (0, 0, 1), "wall on the left": (1, 0, 0)}
    scannet = {"floor": (0, -1, 0), "wall in front": (0, 0, -1), "wall on the left": (1, 0, 0)}
    by_hand = {"floor": [128, 0, 128], "wall in front": [128, 128, 0], "wall on the left": [255, 128, 128]}
    found = _coloured(_found(monkeypatch, np.array([[*marigold.values()]], np.float32)))
    assert found[0].tolist() == [*by_hand.values()]
    file = np.rint((0.5 - np.array([[*scannet.values()]]) / 2) * 255).astype(np.uint8)
    read = pair_of(lossless("input", file), dense(encode(file), "negated_normals"))
    read = replace(read, steps=(read_step("negated_normals"),))
    assert np.abs(_coloured(read).astype(np.int32) - found).max() <= 1


def test_a_slanted_plane_has_the_normal_that_its_points_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A roof's side that rises to the right and away: points of it, seen by a camera of y down and z forward."""
    across, along = np.array([1.0, -0.5, 0.2]), np.array([0.1, -0.7, 1.0])  # two ways along it
    normal = np.cross(across, along)
    normal /= np.linalg.norm(normal)
    normal = -normal if normal[2] > 0 else normal  # the side that the camera sees
    assert abs(normal @ across) < 1e-9 and normal[1] < 0  # upwards
    seen = normal * (1, -1, -1)  # y up, z towards the viewer: a plane that is seen has z > 0
    assert seen[2] > 0
    found = _coloured(_found(monkeypatch, np.array([[seen, (0, 0, 1)]], np.float32)))
    assert np.abs(found[0, 0] - (normal + 1) * 127.5).max() <= 1.5


def test_a_photo_that_faces_one_way_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    for normals in ([[0, 0, 1]] * 4, [[0, 0.02, 1], [0, -0.02, 1]]):
        with pytest.raises(Reject, match="all of it faces one way") as reject:
            _found(monkeypatch, np.array([normals], np.float32))
        assert reject.value.reason == "flat_normals"
    assert _found(monkeypatch, np.array([[[0, 0.1, 0.995], [0, -0.1, 0.995]]], np.float32))


def test_what_is_no_number_is_the_networks_fault_and_not_the_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Reject, match="the network of normals gives what is no finite number") as reject:
        _found(monkeypatch, np.array([[[0, 1, 0], [0, 0, 1], [np.nan, 0, 0]]], np.float32))
    assert reject.value.reason == "not_finite"


def _found(monkeypatch: pytest.MonkeyPatch, normals: npt.NDArray[np.float32]) -> Pair:
    """What becomes of a photo of which Marigold says these normals."""
    monkeypatch.setattr(
        normal_map, "pipeline", lambda kind, folder: lambda *_, **__: SimpleNamespace(prediction=normals[None])
    )
    return run_one(NormalMap(), pair_of(lossless("target", np.zeros((*normals.shape[:2], 3), np.uint8))), 1)


def _coloured(pair: Pair) -> Pixels:
    return decode_rgb(ColourDense()(pair, 1).images[1].data)
