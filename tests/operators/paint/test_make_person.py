from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manifests.images.pixels import decode_rgb
from operators.models.checkpoints import identity
from operators.models.diffusion import DENOISING, Family
from operators.paint.make_person import MakePerson
from tests.sources import lossless, pair_of, photo
from tests.tiny import few_steps, kept_as_painted, run_one, tiny_models, together_as_alone


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_prompt_and_seed_make_the_person(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    models = tiny_models(family)
    operator = MakePerson(family=family).bound(models)
    runner = replace(pair_of(), texts={"person_prompt": "a full body photo of a man in a kilt running"})
    dancer = replace(pair_of(), texts={"person_prompt": "a full body photo of a chef dancing"})
    made = run_one(operator, runner, 7)
    pixels = decode_rgb(made.images[0].data)
    assert made.images[0].role == "input"
    assert pixels.shape == {"sd15": (64, 64, 3), "flux": (128, 128, 3)}[family]
    assert pixels.std() > 15
    assert run_one(operator, dancer, 7).images != made.images != run_one(operator, runner, 8).images
    assert run_one(operator, runner, 7) == made
    (step,) = made.steps
    assert (step.model, step.model_revision) == identity(f"{models}/{family}", family)
    assert (step.prompt, step.seed) == (runner.texts["person_prompt"], 7)
    assert step.params["steps"] == DENOISING[family].steps


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_persons_are_made_together_as_each_alone(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    pairs = [replace(pair_of(), texts={"person_prompt": f"a photo of a {who}"}) for who in ("chef", "nurse", "punk")]
    assert together_as_alone(MakePerson(family=family).bound(tiny_models(family)), pairs)


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_persons_are_kept_as_they_are_painted(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps(monkeypatch)
    pairs = [replace(pair_of(), texts={"person_prompt": f"a photo of a {who}"}) for who in ("chef", "nurse", "punk")]
    assert kept_as_painted(MakePerson(family=family).bound(tiny_models(family)), pairs, tmp_path, monkeypatch)


def test_a_photo_of_a_person_stays() -> None:
    pair = pair_of(lossless("input", photo(0)))
    assert run_one(MakePerson(), pair, 1) is pair
