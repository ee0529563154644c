from __future__ import annotations

import hashlib
import inspect
import math
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch

from infra.tiny.models import write_annotators
from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair, Reject
from operators.degrade import edges
from operators.degrade.edges import WEIGHTS, Edges
from operators.models.checkpoints import identity
from pipelines.run.chain import State, go_on
from pipelines.run.spent import Spent
from tests.sources import lossless, pair_of, photo


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotators")
    write_annotators(folder)
    return folder


def test_canny_finds_the_contours_of_a_photo_without_weights() -> None:
    clean = photo(1, 120, 90)
    canny = Edges(detector="canny").bound(None)
    pair = canny(_pair(clean), 3)
    found = _input(pair)
    expected = cv2.Canny(cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY), 100, 200)
    assert np.array_equal(found, np.repeat(expected[:, :, None], 3, axis=2))
    assert set(np.unique(found)) == {0, 255}
    assert 0.01 < (found > 0).mean() < 0.5
    (step,) = pair.steps
    assert (step.operator, step.version, step.seed, step.params) == ("edges", 2, 3, {"detector": "canny"})
    assert (step.model, step.model_revision) == (None, None)
    assert canny(_pair(clean), 3) == pair


def test_a_photo_without_edges_is_rejected() -> None:
    with pytest.raises(Reject, match="canny finds nothing in it") as reject:
        Edges(detector="canny")(_pair(np.full((40, 48, 3), 90, np.uint8)), 1)
    assert reject.value.reason == "no_edges"


@pytest.mark.parametrize("detector", ["hed", "mlsd"])
@pytest.mark.parametrize("given", [True, False])
def test_missing_weights_are_one_line_that_says_what_to_do(
    detector: Literal["hed", "mlsd"], given: bool, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="make tiny-models, MODELS=tiny") as error:
        Edges(detector=detector).bound(str(tmp_path) if given else None)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(
        f"{detector} (lllyasviel/Annotators, licence: lllyasviel/Annotators: other) is not in MODELS="
    )
    assert f"MODELS={tmp_path if given else ''}: " in message
    assert message.endswith(f"it is needed by {detector}2img")


def test_a_missing_package_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, b"weights")
    monkeypatch.setattr(edges, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^hed needs controlnet-aux: pip install 'xprompt-data-engine\[models\]'$"):
        Edges(detector="hed").bound(str(tmp_path))


def test_the_weights_count_and_not_their_place(tmp_path: Path) -> None:
    for folder, data in (("one", b"weights"), ("other", b"weights"), ("third", b"changed")):
        _write(tmp_path / folder, data)
    one, other, third = (Edges(detector="hed").bound(str(tmp_path / name)) for name in ("one", "other", "third"))
    assert one.model == "hed" and len(one.model_revision) == 12
    assert replace(one, folder="") == replace(other, folder="") != replace(third, folder="")
    assert [field.name for field in fields(Edges) if field.metadata.get("location")] == ["folder"]


def _write(models: Path, data: bytes) -> None:
    (models / "hed").mkdir(parents=True)
    (models / "hed" / WEIGHTS["hed"]).write_bytes(data)


@pytest.mark.parametrize("detector", ["hed", "mlsd"])
def test_a_model_sees_the_photo_and_is_named(detector: Literal["hed", "mlsd"], models: Path) -> None:
    """Loaded and run as the published weights are; 75 x 101 px is no multiple of 64."""
    bound = Edges(detector=detector).bound(str(models))
    pair = bound(_pair(photo(0, 101, 75)), 3)
    found = _input(pair)
    assert found.shape == (75, 101, 3)
    assert (found == found[:, :, :1]).all()
    (step,) = pair.steps
    assert (step.params, step.seed) == ({"detector": detector}, 3)
    assert (step.model, step.model_revision) == identity(str(models / detector), detector)
    edges._detector.cache_clear()  # as in another worker
    assert bound(_pair(photo(0, 101, 75)), 3) == pair
    assert not np.array_equal(_input(bound(_pair(photo(4, 101, 75)), 3)), found)


@pytest.mark.parametrize("detector", ["hed", "mlsd"])
def test_a_photo_smaller_than_a_detectors_grid_keeps_its_size(detector: Literal["hed", "mlsd"], models: Path) -> None:
    assert _input(Edges(detector=detector).bound(str(models))(_pair(photo(0, 20, 30)), 1)).shape == (30, 20, 3)


@pytest.mark.parametrize("size", [(101, 75), (130, 90), (64, 200), (20, 30)])
def test_lines_are_those_of_the_published_detector(size: tuple[int, int], models: Path) -> None:
    """An independent oracle: controlnet_aux's own MLSDdetector, at the size that we ask for, brought to the photo's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional detectors that are not installed
        from controlnet_aux import MLSDdetector

    width_px, height_px = size
    clean = photo(0, width_px, height_px)
    side_px = max(min(size), 64)
    published = MLSDdetector.from_pretrained(str(models / "mlsd"))
    found = published(clean, detect_resolution=side_px, image_resolution=side_px, output_type="np")
    expected = cv2.resize(found[..., 0], size, interpolation=cv2.INTER_LINEAR)
    assert expected.any()
    ours = _input(Edges(detector="mlsd").bound(str(models))(_pair(clean), 1))
    assert np.array_equal(ours, np.repeat(expected[..., None], 3, axis=2))


_NETWORKS = {
    "hed": "controlnet_aux.hed.ControlNetHED_Apache2.__call__",
    "mlsd": "controlnet_aux.mlsd.models.mbv2_mlsd_large.MobileV2_MLSD_Large.forward",
}
"""What runs each network."""


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("the GPU is lost"),
        torch.cuda.OutOfMemoryError("too small"),
        RuntimeError("another shape"),
        IndexError("a layer that is not there"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("detector", ["hed", "mlsd"])
def test_a_network_that_fails_is_no_picture_without_edges(
    detector: Literal["hed", "mlsd"], error: Exception, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it raises is the engine's to judge: a lost GPU ends the unit (pipelines/run/chain.py)."""

    def fail(*_: object, **__: object) -> None:
        raise error

    operator = Edges(detector=detector).bound(str(models))
    monkeypatch.setattr(_NETWORKS[detector], fail)
    with pytest.raises(type(error), match=str(error)):
        operator(_pair(photo(0, 101, 75)), 1)


@pytest.mark.parametrize("detector", ["hed", "mlsd"])
def test_maps_of_no_numbers_are_no_picture_without_edges(
    detector: Literal["hed", "mlsd"], models: Path, request: pytest.FixtureRequest
) -> None:
    """As bytes they are 0. Here the network itself gives them: one of its last weights is none."""
    operator = Edges(detector=detector).bound(str(models))
    edges._detector.cache_clear()
    request.addfinalizer(edges._detector.cache_clear)
    operator(_pair(photo(0, 101, 75)), 1)
    ((_, detect),) = edges._detector.kept
    network: Any = inspect.getclosurevars(detect).nonlocals["model"]
    network = network.netNetwork.block3 if detector == "hed" else network.model
    [*network.parameters()][-1].data.fill_(math.nan)
    with pytest.raises(Reject, match=f"{detector} gives what is no finite number") as reject:
        operator(_pair(photo(0, 101, 75)), 1)
    assert reject.value.reason == "not_finite"


def test_a_lost_gpu_ends_the_unit(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.AcceleratorError("an illegal memory access")

    operator = Edges(detector="mlsd").bound(str(models))
    monkeypatch.setattr(_NETWORKS["mlsd"], fail)
    with pytest.raises(OSError, match="the GPU has failed"):
        go_on([State(made=_pair(photo(0, 101, 75)))], [operator], 1, Spent())


def test_a_photo_without_lines_is_rejected(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that gives every place the logit -9, a score of 0.0001: pred_lines finds no line above 0.1."""
    operator = Edges(detector="mlsd").bound(str(models))
    monkeypatch.setattr(
        _NETWORKS["mlsd"],
        lambda self, picture: torch.full((1, 9, picture.shape[2] // 2, picture.shape[3] // 2), -9.0),
    )
    with pytest.raises(Reject, match="mlsd finds nothing in it") as reject:
        operator(_pair(photo(0, 101, 75)), 1)
    assert reject.value.reason == "no_edges"


def test_the_random_models_give_maps_worth_looking_at(models: Path, tmp_path: Path) -> None:
    """HED's varies smoothly over most of the range, MLSD's has lines with room between them; both written the same."""
    clean = photo(0, 160, 140)
    hed, mlsd = (_input(Edges(detector=name).bound(str(models))(_pair(clean), 1))[:, :, 0] for name in ("hed", "mlsd"))
    assert hed.std() > 20
    assert ((hed < 5) | (hed > 250)).mean() < 0.02
    assert np.abs(np.diff(hed.astype(int), axis=1)).mean() < 8
    assert 0.01 < (mlsd > 127).mean() < 0.5
    write_annotators(tmp_path)
    for name, file in WEIGHTS.items():
        again, first = (
            hashlib.sha256((folder / name / file).read_bytes()).hexdigest() for folder in (tmp_path, models)
        )
        assert again == first


def _pair(clean: Pixels) -> Pair:
    return pair_of(lossless("target", clean))


def _input(pair: Pair) -> Pixels:
    image = pair.image("input")
    assert image
    return decode_rgb(image.data)
