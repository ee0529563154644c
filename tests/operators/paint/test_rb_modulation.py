from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from manifests.schema import Pair, Reject
from operators.models.checkpoints import identity
from operators.models.rb import stylise
from operators.models.rb.parameters import StageCSampling
from operators.paint.rb_modulation import RbModulation
from tests.sources import lossless, pair_of, photo
from tests.tiny import kept_as_painted, run_one

FEW = RbModulation(sampling=StageCSampling(steps=2))


@pytest.mark.parametrize("with_base", [True, False])
def test_it_adds_the_target_and_names_every_model(tiny: str, with_base: bool) -> None:
    bound = FEW.bound(tiny)
    pair = run_one(bound, _pair(with_base), 7)
    target = pair.image("target")
    assert target and (target.width_px, target.height_px) == (128, 128)
    roles = ("stable-cascade-prior", "stable-cascade", "csd")
    assert [(s.model, s.model_revision) for s in pair.steps] == [identity(f"{tiny}/{role}", role) for role in roles]
    assert {step.seed for step in pair.steps} == {7}
    assert [step.prompt for step in pair.steps] == ["a cat", "a cat", None]
    prior, decoder, _ = (step.params for step in pair.steps)
    assert prior["steps"] == 2 and decoder["steps"] == 10 and decoder["guidance"] == 1.1
    assert prior["stochastic"] is with_base
    assert prior["weights"] == {"style": 1.0, "content": float(with_base), "text": float(not with_base)}
    assert run_one(bound, _pair(with_base), 7) == pair
    assert run_one(bound, _pair(with_base), 8).images[-1].data != target.data


def test_the_target_has_the_inputs_size_whatever_it_is(tiny: str) -> None:
    images = lossless("style", photo(0, 128, 128)), lossless("input", photo(1, 150, 100))
    pair = replace(pair_of(*images), texts={"prompt": "a cat"})
    target = run_one(FEW.bound(tiny), pair, 7).image("target")
    assert target and (target.width_px, target.height_px) == (150, 100)


def test_a_missing_checkpoint_is_one_line_that_names_the_task() -> None:
    with pytest.raises(ValueError, match=r"^stable-cascade-prior .* needed by style$"):
        FEW.bound(None)


def test_targets_are_kept_as_they_are_painted(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept as Stable Cascade makes them, and brought to the input's size again."""
    images = lossless("style", photo(0, 128, 128)), lossless("input", photo(1, 150, 100))
    odd = replace(pair_of(*images), texts={"prompt": "a cat"})
    assert kept_as_painted(FEW.bound(tiny), [_pair(True), _pair(False), odd], tmp_path, monkeypatch)


def test_latents_of_no_numbers_are_no_black_picture(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage C gives NaN, stages B and A take it up."""
    monkeypatch.setattr(stylise, "sample", lambda noise, *_, **__: noise * math.nan)
    with pytest.raises(Reject, match="Stable Cascade gives what is no finite number") as reject:
        run_one(FEW.bound(tiny), _pair(True), 7)
    assert reject.value.reason == "not_finite"


def _pair(with_base: bool) -> Pair:
    images = [lossless("style", photo(0, 128, 128))] + [lossless("input", photo(1, 128, 128))] * with_base
    return replace(pair_of(*images), texts={"prompt": "a cat"})
