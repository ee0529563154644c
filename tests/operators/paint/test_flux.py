from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.tiny.diffusion import SIDE_PX
from manifests.images.pixels import decode_rgb
from manifests.schema import Pair, seed_for
from operators.models.checkpoints import identity
from operators.paint.flux import Flux
from tests.sources import pair_of
from tests.tiny import kept_as_painted, run_one

FLUX = Flux(prompts=(("style", "style_prompt"), ("input", "base_prompt")), steps=2)


def test_it_adds_a_picture_for_each_prompt_and_says_how_it_was_made(tiny: str) -> None:
    pair = run_one(FLUX.bound(tiny), _pair("a cat", "a dog, Mosaic style"), 5)
    assert [image.role for image in pair.images] == ["style", "input"]
    assert {(image.width_px, image.height_px, image.format) for image in pair.images} == {(SIDE_PX, SIDE_PX, "png")}
    model, revision = identity(f"{tiny}/flux", "flux")
    assert [(s.prompt, s.seed, s.model, s.model_revision, s.params["part"]) for s in pair.steps] == [
        ("a dog, Mosaic style", seed_for(5, "style"), model, revision, "style"),
        ("a cat", seed_for(5, "input"), model, revision, "input"),
    ]


def test_prompt_and_seed_show_and_nothing_else_does(tiny: str) -> None:
    flux = FLUX.bound(tiny)
    first = run_one(flux, _pair("a cat", "a dog"), 5)
    run_one(flux, _pair("other", "pictures"), 6)  # made in between
    assert run_one(flux, _pair("a cat", "a dog"), 5) == first
    for changed in (run_one(flux, _pair("a cat", "a dog"), 6), run_one(flux, _pair("a red house on a hill", "b"), 5)):
        for before, after in zip(first.images, changed.images, strict=True):
            one, other = decode_rgb(before.data).astype(float), decode_rgb(after.data).astype(float)
            assert one.std() > 15 and np.abs(one - other).mean() > 2


def test_what_is_missing_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^flux \(black-forest-labs/FLUX.1-dev, licence: .*make tiny-models") as error:
        FLUX.bound(None)
    assert "\n" not in str(error.value)


def test_pictures_are_kept_as_they_are_painted(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [_pair("a cat", "a dog"), _pair("a house", "a hill"), _pair("a cat", "a dog")]
    assert kept_as_painted(FLUX.bound(tiny), pairs, tmp_path, monkeypatch)


def _pair(base: str, style: str) -> Pair:
    return replace(pair_of(), texts={"base_prompt": base, "style_prompt": style})
