from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from manifests.images.pixels import Pixels
from manifests.schema import Pair, Reject
from operators.judge.scores import MEASURES, Bound, Scores
from operators.models import embedders as scores_models
from operators.models.checkpoints import identity
from operators.shared import vision
from operators.shared.metrics import ssim_luma
from operators.shared.pixels import changed_area, mean_abs_diff, sharpness
from operators.shared.vectors import cosine
from tests.sources import lossless, pair_of, photo
from tests.tiny import run_one

CAPTIONS = {"source_caption": "a cat", "target_caption": "two dogs"}


def test_every_score_is_stored_with_the_checkpoints_that_gave_it(tiny: str) -> None:
    operator = Scores(measures=tuple(MEASURES)).bound(tiny)
    pair = run_one(operator, _pair(), 0)
    assert pair.scores.keys() == MEASURES.keys()
    assert all(np.isfinite(value) for value in pair.scores.values())
    steps = {step.params["role"]: (step.model, step.model_revision) for step in pair.steps}
    roles = ("aesthetic", "clip", "csd", "dino", "lpips")
    assert steps == {role: identity(f"{tiny}/{role}", role) for role in roles}
    assert run_one(operator, _pair(), 1) == pair


def test_each_score_is_of_what_its_name_says(tiny: str) -> None:
    first, second, style = photo(0, 128, 96), photo(1, 128, 96), photo(2, 128, 96)
    found = run_one(Scores(measures=tuple(MEASURES)).bound(tiny), _pair(), 0).scores
    models = {role: scores_models.load(role, f"{tiny}/{role}", "cpu") for role in ("clip", "dino", "csd", "aesthetic")}
    clip, dino, csd, aesthetic = (
        [model.embed([model.seen(image)])[0] for image in (first, second, style)] for model in models.values()
    )
    before, wanted = models["clip"].embed_texts(["a cat", "two dogs"])
    near, far = cosine(csd[1], csd[2]), cosine(csd[0], csd[2])
    lpips = scores_models.load("lpips", f"{tiny}/lpips", "cpu")
    expected = {
        "mean_abs_diff": mean_abs_diff(first, second),
        "ssim": ssim_luma(first, second),
        "changed_area": changed_area(first, second),
        "sharpness": sharpness(second),
        "clip_image": cosine(clip[0], clip[1]),
        "clip_text": cosine(clip[1], wanted),
        "clip_direction": cosine(clip[1] - clip[0], wanted - before),
        "dino": cosine(dino[0], dino[1]),
        "lpips": lpips.distance(first, second),
        "aesthetic": aesthetic[1][0],
        "style": near,
        "style_gain": near - far,
    }
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("low", "high", "reason"), [(0.0, 0.1, "high_ssim"), (0.9, 1.0, "low_ssim"), (0.0, 1.0, None)])
def test_a_gate_has_two_sides_and_keeps_the_scores_of_what_it_rejects(
    low: float, high: float, reason: str | None
) -> None:
    operator = Scores(measures=("ssim", "sharpness"), bounds=(Bound(score="ssim", low=low, high=high),)).bound(None)
    pair = replace(_pair(lossless_blend=0.5), scores={"earlier": 1.0})
    if reason is None:
        assert run_one(operator, pair, 0).scores.keys() == {"earlier", "ssim", "sharpness"}
        return
    with pytest.raises(Reject) as caught:
        run_one(operator, pair, 0)
    assert caught.value.reason == reason
    assert caught.value.scores.keys() == {"earlier", "ssim", "sharpness"}


def test_bounds_are_in_the_fingerprint_and_places_are_not(tiny: str) -> None:
    bound = Scores(measures=("clip_image",)).bound(tiny)
    assert bound.models == (("clip", *identity(f"{tiny}/clip", "clip")),)
    assert replace(bound, folders=()).models == bound.models


def test_images_of_two_sizes_are_compared(tiny: str) -> None:
    pair = pair_of(lossless("input", photo(0, 128, 96)), lossless("target", photo(0, 128, 96)[::2, ::2]))
    operator = Scores(measures=("mean_abs_diff", "lpips", "ssim")).bound(tiny)
    assert run_one(operator, pair, 0).scores["mean_abs_diff"] < 0.1


def test_pairs_are_scored_together_as_each_alone(tiny: str) -> None:
    operator = Scores(measures=tuple(MEASURES)).bound(tiny)
    pairs = [replace(_pair(lossless_blend=0.1 * number), key=f"{number:032x}") for number in range(3)]
    together = operator.many(pairs, [0, 0, 0])
    assert [run_one(operator, pair, 0) for pair in pairs] == together
    assert [*reversed(operator.many(pairs[::-1], [0, 0, 0]))] == together


@pytest.mark.parametrize("bounded", [True, False])
def test_a_score_that_is_no_number_is_not_the_pairs(bounded: bool, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither below a bound nor, without one, good enough to be kept."""
    bounds = (Bound(score="clip_image", low=0.0, high=1.0),) if bounded else ()
    operator = Scores(measures=("clip_image", "ssim"), bounds=bounds).bound(tiny)
    monkeypatch.setattr(vision.Clip, "embed", lambda self, seen: [np.full(8, np.nan) for _ in seen])
    with pytest.raises(Reject, match="the measure clip_image gives what is no finite number") as caught:
        run_one(operator, replace(_pair(), scores={"earlier": 1.0}), 0)
    assert caught.value.reason == "not_finite"
    assert caught.value.scores.keys() == {"earlier", "ssim"}


def test_the_cosine_of_nothing_is_zero() -> None:
    assert cosine(np.zeros(3), np.ones(3)) == 0
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(np.sqrt(0.5))


def _pair(lossless_blend: float = 0.0) -> Pair:
    first, second = photo(0, 128, 96), photo(1, 128, 96)
    target: Pixels = np.asarray(lossless_blend * first + (1 - lossless_blend) * second, np.uint8)
    images = (lossless("input", first), lossless("target", target), lossless("style", photo(2, 128, 96)))
    return replace(pair_of(*images), texts=CAPTIONS)
