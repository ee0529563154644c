from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.models.diffusion import Family
from operators.paint.estimate_pose import EstimatePose
from operators.paint.make_person import MakePerson
from operators.paint.pose_control import PoseControl
from tests.sources import lossless, pair_of
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone

ROLES: dict[Family, tuple[str, str]] = {
    "sd15": ("sd15", "sd15-controlnet-openpose"),
    "flux": ("flux", "flux-controlnet-pose"),
}


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_pose_prompt_and_seed_make_another_person(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = PoseControl(family=family, instructions=("Now {person}.",)).bound(tiny_models(*ROLES[family]))
    photo = skimage.data.astronaut()
    whole, part = _with_pose(photo), _with_pose(np.ascontiguousarray(photo[:448, 64:]))
    made = run_one(operator, whole, 7)
    assert run_one(operator, whole, 7) == made
    assert made.texts["instruction"] == "Now a chef."
    assert decode_rgb(made.images[-1].data).std() > 15
    assert np.abs(_target(made) - _target(run_one(operator, whole, 8))).mean() > 5
    assert np.abs(_target(made) - _target(run_one(operator, part, 7))).mean() > 1  # the pose alone differs
    steps = made.steps[-2:]
    assert [step.model for step in steps] == list(ROLES[family])
    assert [step.params["part"] for step in steps] == ["generator", "controlnet"]
    assert (steps[0].prompt, steps[0].seed) == ("a photo of a chef", 7)


def test_the_pose_is_drawn_as_thick_for_a_large_photo() -> None:
    operator = PoseControl(instructions=("Now {person}.",)).bound(tiny_models(*ROLES["sd15"]))
    photo = skimage.data.astronaut()
    large = _with_pose(np.ascontiguousarray(photo.repeat(4, axis=0).repeat(4, axis=1)))
    lit = []
    for pair in (_with_pose(photo), large):
        (order,) = operator.orders(pair, 1)
        assert order.images["image"].shape == (*order.size_px, 3)
        lit.append((order.images["image"].max(axis=2) > 0).mean())
    assert lit[1] == pytest.approx(lit[0], rel=0.2)


def test_it_shares_its_networks_with_what_makes_the_first_person() -> None:
    models = tiny_models(*ROLES["sd15"])
    operator = PoseControl(instructions=("Now {person}.",)).bound(models)
    assert operator._pipeline().unet is MakePerson().bound(models)._pipeline().unet


def test_it_is_the_person_and_the_action_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = PoseControl(instructions=("Now {person}.",)).bound(tiny_models(*ROLES["sd15"]))
    pair = _with_pose(np.ascontiguousarray(skimage.data.astronaut()[:448]))
    chef, nurse = (
        run_one(operator, replace(pair, texts={"person": person, "action": "running"}), 1)
        for person in ("a chef", "a nurse")
    )
    assert [made.steps[-2].prompt for made in (chef, nurse)] == [
        "a photo of a chef running",
        "a photo of a nurse running",
    ]
    assert chef.texts["instruction"] == "Now a chef." and chef.images[-1] != nurse.images[-1]


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_persons_are_made_together_as_each_alone(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = PoseControl(family=family, instructions=("Now {person}.",)).bound(tiny_models(*ROLES[family]))
    photo = skimage.data.astronaut()
    pairs = [_with_pose(np.ascontiguousarray(photo[: 512 - 32 * cut])) for cut in range(3)]
    assert together_as_alone(operator, pairs)


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_persons_are_kept_as_they_are_painted(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = PoseControl(family=family, instructions=("Now {person}.",)).bound(tiny_models(*ROLES[family]))
    photo = skimage.data.astronaut()
    pairs = [_with_pose(np.ascontiguousarray(photo[: 512 - 32 * cut])) for cut in range(3)]
    assert kept_as_painted(operator, pairs, tmp_path, monkeypatch)


def _with_pose(photo: Pixels) -> Pair:
    pair = replace(pair_of(lossless("input", photo)), texts={"person": "a chef"})
    return EstimatePose().bound(tiny_models("blazepose"))(pair, 1)


def _target(pair: Pair) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data).astype(np.float64)
