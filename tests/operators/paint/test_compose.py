from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.models.checkpoints import identity
from operators.models.diffusion import Family
from operators.paint.compose import PROMPT, Compose
from tests.sources import lossless, pair_of, photo
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone

ROLES: dict[Family, tuple[str, ...]] = {
    "sd15": ("sd15", "sd15-ip-adapter"),
    "flux": ("flux", "flux-ip-adapter", "flux-ip-adapter-image-encoder"),
}


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_both_images_and_the_seed_make_the_composite(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch, 4)
    models = tiny_models(*ROLES[family])
    operator = Compose(family=family).bound(models)
    one, two, three = (photo(index, 128, 96) for index in range(3))
    made = run_one(operator, _pair(one, two), 7)
    assert run_one(operator, _pair(one, two), 7) == made
    target = _target(made)
    assert target.shape == {"sd15": (64, 64, 3), "flux": (112, 144, 3)}[family]
    assert target.std() > 15
    for name, other in (
        ("layout", run_one(operator, _pair(three, two), 7)),
        ("semantics", run_one(operator, _pair(one, three), 7)),
        ("seed", run_one(operator, _pair(one, two), 8)),
    ):
        assert np.abs(_target(other).astype(float) - target).mean() > 0.5, name
    steps = made.steps[-len(ROLES[family]) :]
    assert [(step.model, step.model_revision) for step in steps] == [
        identity(f"{models}/{role}", role) for role in ROLES[family]
    ]
    assert (steps[0].prompt, steps[0].seed) == (PROMPT, 7)
    assert steps[0].params["strength"] == 0.7


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_composites_are_made_together_as_each_alone(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = Compose(family=family).bound(tiny_models(*ROLES[family]))
    assert together_as_alone(operator, [_pair(photo(0, 128, 96), photo(second, 96, 96)) for second in (0, 1, 3)])


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_composites_are_kept_as_they_are_painted(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps(monkeypatch)
    operator = Compose(family=family).bound(tiny_models(*ROLES[family]))
    pairs = [_pair(photo(0, 128, 96), photo(second, 96, 96)) for second in (0, 1, 3)]
    assert kept_as_painted(operator, pairs, tmp_path, monkeypatch)


def _pair(layout: Pixels, semantics: Pixels) -> Pair:
    return pair_of(lossless("input1", layout), lossless("input2", semantics))


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
