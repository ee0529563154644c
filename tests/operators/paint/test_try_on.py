from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import UNet2DConditionModel

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Pair
from operators.base import StopRun
from operators.models.checkpoints import identity
from operators.paint.try_on import TryOn, without_text
from tests.sources import lossless, pair_of, photo
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone

ROLES = ("sd15-inpaint", "sd15-tryon")


def test_the_garment_decides_what_is_worn_and_the_rest_of_the_person_stays() -> None:
    models = tiny_models(*ROLES)
    operator = TryOn(steps=3).bound(models)
    pair = _pair(photo(1, 100, 140))
    made = run_one(operator, pair, 7)
    assert run_one(operator, pair, 7) == made
    target = _target(made)
    person = decode_rgb(pair.images[0].data)
    assert target.shape == person.shape == (140, 100, 3)
    hole = np.zeros((140, 100), bool)
    hole[40:100, 20:80] = True
    assert np.array_equal(target[~hole], person[~hole])
    assert target[hole].std() > 15
    for other in (run_one(operator, pair, 8), run_one(operator, _pair(photo(0, 100, 140)), 7)):
        assert np.abs(_target(other).astype(float) - target)[hole].mean() > 2
    steps = made.steps[-2:]
    assert [(step.model, step.model_revision) for step in steps] == [
        identity(f"{models}/{role}", role) for role in ROLES
    ]
    assert steps[0].params == {"part": "autoencoder and schedule", "steps": 3, "guidance": 2.5}
    assert {step.seed for step in steps} == {7}


def test_a_pair_as_published_stays_and_needs_no_model() -> None:
    pair = pair_of(*(lossless(role, photo(0)) for role in ("person", "cloth", "target")))
    assert run_one(TryOn().bound(None), pair, 1) is pair
    assert (TryOn().bound(None).gpus, TryOn().bound(tiny_models(*ROLES)).gpus) == (0, 0.5)
    with pytest.raises(StopRun, match="no sd15-inpaint or sd15-tryon"):
        run_one(TryOn().bound("/nowhere"), _pair(photo(0, 100, 140)), 1)


def test_text_has_no_part_in_it() -> None:
    import torch

    unet = UNet2DConditionModel.from_pretrained(Path(tiny_models("sd15-tryon")) / "sd15-tryon")
    without_text(unet)
    assert not any(".attn2." in name for name, _ in unet.named_parameters())
    assert any(".attn1." in name for name, _ in unet.named_parameters())
    with torch.no_grad():
        made = unet(torch.zeros(1, 9, 8, 16), 5, encoder_hidden_states=None).sample
    assert made.shape == (1, 4, 8, 16)


def test_garments_are_put_on_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = TryOn(steps=3).bound(tiny_models(*ROLES))
    assert together_as_alone(operator, [_pair(photo(cloth, 100, 140)) for cloth in (0, 1, 3)])


def test_what_is_worn_is_kept_as_it_is_painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    operator = TryOn(steps=3).bound(tiny_models(*ROLES))
    assert kept_as_painted(operator, [_pair(photo(cloth, 100, 140)) for cloth in (0, 1, 3)], tmp_path, monkeypatch)


def _pair(cloth: Pixels) -> Pair:
    person = photo(2, 100, 140)
    mask = np.zeros_like(person)
    mask[40:100, 20:80] = 255
    pair = pair_of(lossless("person", person), lossless("mask", mask), lossless("cloth", cloth))
    return replace(pair, key="1" * 32)


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
