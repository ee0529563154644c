from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.arrange.holes import HOLE
from operators.models.checkpoints import identity
from operators.models.diffusion import Denoising, Family
from operators.paint.inpaint import Inpaint
from tests.sources import lossless, pair_of, photo
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone

ROLES: dict[Family, tuple[str, ...]] = {"sd15": ("sd15-inpaint", "sd15-ip-adapter"), "flux": ("flux-fill",)}


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_holes_are_filled_after_the_reference(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch, 4)
    models = tiny_models(*ROLES[family])
    operator = Inpaint(family=family).bound(models)
    pair = _pair(photo(1, 96, 80))
    made = run_one(operator, pair, 7)
    assert run_one(operator, pair, 7) == made
    target, photo_itself = _target(made), _target(pair)
    hole = np.zeros((80, 96), bool)
    hole[20:60, 30:70] = True
    assert target.shape == (80, 96, 3)
    assert np.array_equal(target[~hole], photo_itself[~hole])
    assert target[hole].std() > 10
    assert np.abs(target.astype(float) - photo_itself)[hole].mean() > 5
    for name, other in (
        ("seed", run_one(operator, pair, 8)),
        ("reference", run_one(operator, _pair(photo(0, 96, 80)), 7)),
    ):
        assert np.abs(_target(other).astype(float) - target)[hole].mean() > 0.5, name
    assert [image.role for image in made.images].count("target") == 1
    steps = made.steps[-len(ROLES[family]) :]
    assert [(step.model, step.model_revision) for step in steps] == [
        identity(f"{models}/{role}", role) for role in ROLES[family]
    ]
    assert steps[0].prompt and steps[0].seed == 7
    assert steps[0].params["guidance"] == {"sd15": 7.5, "flux": 30}[family]


def test_without_a_family_the_photo_stays_and_no_model_is_needed() -> None:
    pair = _pair(photo(1, 96, 80))
    assert run_one(Inpaint().bound(None), pair, 1) is pair
    assert (Inpaint().gpus, Inpaint(family="flux").gpus) == (0, 1)


def test_fill_paints_two_megapixels_in_fifty_steps() -> None:
    """By hand: FLUX.1 takes 14 s for 28 steps on one, and a VAE 4,400 bytes a pixel."""
    fill = Inpaint(family="flux")
    assert fill._denoising == Denoising(steps=50, guidance=30.0)
    assert fill.gpu_s == pytest.approx(14 * 2 * 50 / 28)
    assert fill.working_gib == pytest.approx(2 * 1024 * 1024 * 4_400 / 2**30)
    assert Inpaint(family="sd15").gpu_s == 2.5


def test_fill_sees_reference_and_photo_side_by_side_at_its_own_area_each(monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = Inpaint(family="flux").bound(tiny_models("flux-fill"))
    (order,) = operator.orders(_pair(photo(1, 96, 96)), 1)
    assert order.size_px == (112, 2 * 144)  # 128 x 128 px in the shape of 96 x 80, as multiples of 16


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_holes_are_filled_together_as_each_alone(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = Inpaint(family=family).bound(tiny_models(*ROLES[family]))
    assert together_as_alone(operator, [_pair(photo(reference, 96, 80)) for reference in (0, 1, 3)])


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_fillings_are_kept_as_they_are_painted(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = Inpaint(family=family).bound(tiny_models(*ROLES[family]))
    assert kept_as_painted(operator, [_pair(photo(one, 96, 80)) for one in (0, 1, 3)], tmp_path, monkeypatch)


def _pair(reference: Pixels) -> Pair:
    target = photo(2, 96, 80)
    mask = np.zeros_like(target)
    mask[20:60, 30:70] = 255
    masked = np.where(mask > 0, np.uint8(HOLE), target)
    images = {"target": target, "reference": reference, "input": masked, "mask": mask}
    return pair_of(*(lossless(role, pixels) for role, pixels in images.items()))


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
