"""The choice among candidates, on known transformations of a photo; and FLUX.1 Kontext itself, tiny."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from manifests.images import Pixels, decode_rgb
from manifests.schema import Pair, Reject, seed_for
from operators.best_edit import BestEdit
from operators.checkpoints import identity
from operators.scores import Bound, Scores
from tests.sources import lossless, pair_of, photo

PHOTO = photo(0, 96, 64)
SCORES = Scores(
    measures=("clip_direction", "clip_image", "ssim", "dino"), bounds=(Bound(score="ssim", low=0.2, high=0.98),)
)
KNOWN: dict[str, Pixels] = {
    "unchanged": PHOTO,
    "unrelated": np.random.default_rng(0).integers(0, 256, PHOTO.shape).astype(np.uint8),
    "blurred": np.asarray(cv2.GaussianBlur(PHOTO, (0, 0), 1.5), np.uint8),
    "smeared": np.asarray(cv2.GaussianBlur(PHOTO, (0, 0), 4), np.uint8),
}


@pytest.fixture
def edits(tiny: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BestEdit]:
    """An operator whose candidates are known transformations."""
    monkeypatch.setattr("operators.best_edit.folder", lambda models, role: tiny)
    monkeypatch.setattr("operators.best_edit.identity", lambda found, role: ("kontext", "0"))

    def make(*names: str, rank: str = "clip_direction") -> BestEdit:
        numbers = {seed_for(5, str(number)): name for number, name in enumerate(names)}
        monkeypatch.setattr(BestEdit, "_edited", lambda self, pixels, instruction, seed: KNOWN[numbers[seed]])
        return BestEdit(scores=SCORES, rank=rank, candidates=len(names)).bound(tiny)

    return make


def test_what_is_unchanged_or_unrelated_is_never_chosen(edits: Callable[..., BestEdit]) -> None:
    pair = edits("unchanged", "unrelated", "blurred")(_pair(), 5)
    assert np.array_equal(_target(pair), KNOWN["blurred"])
    tried = next(step for step in pair.steps if step.operator == "best_edit").params["candidates"]
    assert [candidate.get("reason") for candidate in tried] == ["high_ssim", "low_ssim", None]
    assert all(candidate["scores"].keys() == set(SCORES.measures) for candidate in tried)


@pytest.mark.parametrize("rank", ["clip_direction", "dino", "ssim"])
def test_of_those_within_the_bounds_the_highest_rank_wins(edits: Callable[..., BestEdit], rank: str) -> None:
    pair = edits("blurred", "smeared", rank=rank)(_pair(), 5)
    tried = next(step for step in pair.steps if step.operator == "best_edit").params["candidates"]
    best = max(range(2), key=lambda number: tried[number]["scores"][rank])
    assert np.array_equal(_target(pair), KNOWN[("blurred", "smeared")[best]])
    assert pair.scores[rank] == max(candidate["scores"][rank] for candidate in tried)


def test_without_a_good_one_the_scores_of_the_best_are_kept(edits: Callable[..., BestEdit]) -> None:
    with pytest.raises(Reject) as caught:
        edits("unchanged", "unrelated")(_pair(), 5)
    assert caught.value.reason == "no_candidate"
    assert caught.value.scores.keys() == set(SCORES.measures)


def test_kontext_edits_by_instruction_and_seed(tiny: str) -> None:
    every = Scores(measures=("clip_direction",))
    operator = BestEdit(scores=every, candidates=2, steps=2).bound(tiny)
    pair = operator(_pair(), 5)
    assert _target(pair).shape == PHOTO.shape
    step = next(step for step in pair.steps if step.operator == "best_edit")
    assert (step.model, step.model_revision) == identity(f"{tiny}/flux-kontext", "flux-kontext")
    assert step.prompt == "add a hat" and step.seed in {seed_for(5, "0"), seed_for(5, "1")}
    assert operator(_pair(), 5) == pair
    one = replace(operator, candidates=1)
    first = _target(one(_pair(), 5)).astype(float)
    for changed in (one(_pair(), 6), one(_pair("make it winter in the mountains"), 5)):
        assert np.abs(_target(changed) - first).mean() > 1


def _pair(instruction: str = "add a hat") -> Pair:
    texts = {"instruction": instruction, "source_caption": "a cat", "target_caption": "a cat with a hat"}
    return replace(pair_of(lossless("input", PHOTO)), texts=texts)


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
