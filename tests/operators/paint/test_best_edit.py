"""The choice among the candidates of both editors, on known transformations of a photo; and both themselves, tiny."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from manifests.images.pixels import Pixels, decode_rgb
from manifests.schema import Candidate, Pair, Reject, Step, seed_for
from operators.account import accounting
from operators.judge.scores import Bound, Scores
from operators.models.checkpoints import identity
from operators.models.diffusion import Denoising
from operators.paint.best_edit import BestEdit
from operators.pictures import keeping
from operators.word.propose_edit import EVERYWHERE
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
BOX = [250, 500, 750, 1000]
TWO = Denoising(steps=2, guidance=3.5)


@pytest.fixture
def edits(tiny: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BestEdit]:
    """An operator whose candidates are known transformations."""

    def make(kontext: Sequence[str], fill: Sequence[str], rank: str = "clip_direction") -> BestEdit:
        def known(names: Sequence[str]) -> Callable[..., list[Pixels]]:
            return lambda *given: [KNOWN[name] for name, _ in zip(names, given[-2], strict=True)]

        monkeypatch.setattr("operators.paint.best_edit.by_kontext", known(kontext))
        monkeypatch.setattr("operators.paint.best_edit.by_fill", known(fill))
        return BestEdit(scores=SCORES, rank=rank, candidates=len(kontext)).bound(tiny)

    return make


def test_what_is_unchanged_or_unrelated_is_never_chosen(edits: Callable[..., BestEdit]) -> None:
    pair = edits(["unchanged", "unrelated"], ["blurred", "unchanged"])(_pair(), 5)
    assert np.array_equal(_target(pair), KNOWN["blurred"])
    tried = _steps(pair)[0].params["candidates"]
    assert [(one["editor"], one["seed"], one.get("reason")) for one in tried] == [
        ("kontext", seed_for(5, "kontext", "0"), "high_ssim"),
        ("kontext", seed_for(5, "kontext", "1"), "low_ssim"),
        ("fill", seed_for(5, "fill", "0"), None),
        ("fill", seed_for(5, "fill", "1"), "high_ssim"),
    ]
    assert all(one["scores"].keys() == set(SCORES.measures) for one in tried)


@pytest.mark.parametrize("rank", ["clip_direction", "dino", "ssim"])
@pytest.mark.parametrize("names", [("blurred", "smeared"), ("smeared", "blurred")])
def test_of_both_editors_the_highest_rank_wins_and_both_are_named(
    names: tuple[str, str], rank: str, edits: Callable[..., BestEdit], tiny: str
) -> None:
    pair = edits(names[:1], names[1:], rank=rank)(_pair(), 5)
    first, second = _steps(pair)
    tried = first.params["candidates"]
    best = max(range(2), key=lambda number: tried[number]["scores"][rank])
    assert np.array_equal(_target(pair), KNOWN[names[best]])
    assert pair.scores[rank] == max(one["scores"][rank] for one in tried)
    winner, other = ("kontext", "fill") if best == 0 else ("fill", "kontext")
    assert (first.params["part"], second.params) == (winner, {"part": other})
    for step, role in ((first, f"flux-{winner}"), (second, f"flux-{other}")):
        assert (step.model, step.model_revision) == identity(f"{tiny}/{role}", role)
    prompt = {"kontext": "add a hat", "fill": "a cat with a hat"}[winner]
    assert (first.prompt, first.seed) == (prompt, seed_for(5, winner, "0"))
    assert (second.prompt, second.seed) == (None, None)


def test_without_a_good_one_the_scores_of_the_best_are_kept(edits: Callable[..., BestEdit]) -> None:
    with pytest.raises(Reject, match="none of 4") as caught:
        edits(["unchanged", "unrelated"], ["unchanged", "unrelated"])(_pair(), 5)
    assert caught.value.reason == "no_candidate"
    assert caught.value.scores.keys() == set(SCORES.measures)
    assert caught.value.output and caught.value.output.role == "target"  # to be shown: the pair has no target


def test_memory_that_runs_out_in_scoring_is_said(
    edits: Callable[..., BestEdit], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = [Reject("out_of_memory", "the GPU's memory is too small for it alone")] * 2
    monkeypatch.setattr(Scores, "many", lambda *given: none)
    with pytest.raises(Reject) as caught:
        edits(["blurred", "smeared"], ["blurred", "smeared"])(_pair(), 5)
    assert caught.value.reason == "out_of_memory"


def test_kontext_is_told_the_instruction_and_fill_the_caption_and_the_box(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []

    def noted(*arguments: Any) -> list[Pixels]:
        given.append((arguments[0], *arguments[2:-2]))
        return [KNOWN["blurred"] for _ in arguments[-2]]

    monkeypatch.setattr("operators.paint.best_edit.by_kontext", noted)
    monkeypatch.setattr("operators.paint.best_edit.by_fill", noted)
    operator = BestEdit(scores=SCORES).bound(tiny)
    operator(_pair(), 5)
    assert given == [
        (str(Path(tiny, "flux-kontext").resolve()), "add a hat", Denoising(steps=28, guidance=2.5)),
        (str(Path(tiny, "flux-fill").resolve()), "a cat with a hat", BOX, Denoising(steps=50, guidance=30.0)),
    ]
    assert operator.gpu_s == 4 * 14 * (28 + 50) / 28


def test_an_edit_that_shows_everywhere_is_kontexts_alone(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.paint.best_edit.by_fill", None)
    operator = _quick(tiny)
    pair = operator(_pair(where=EVERYWHERE), 5)
    (step,) = _steps(pair)
    assert (step.model, step.model_revision) == identity(f"{tiny}/flux-kontext", "flux-kontext")
    assert [one["editor"] for one in step.params["candidates"]] == ["kontext"] * 2
    assert step.params["sampling"] == {"kontext": {"steps": 2, "guidance": 3.5}}
    assert operator(_pair(where=EVERYWHERE), 5) == pair


def test_both_editors_make_pictures_by_seed_and_what_is_outside_of_the_box_stays(tiny: str) -> None:
    """Ranked by how much stays as it was, Fill wins: half of its pictures is the photo."""
    operator = replace(_quick(tiny), rank="ssim")
    pair = operator(_pair(), 5)
    assert operator(_pair(), 5) == pair
    first, second = _steps(pair)
    assert (first.params["part"], second.params["part"]) == ("fill", "kontext")
    assert len({one["seed"] for one in first.params["candidates"]}) == 4
    target, inside = _target(pair), np.zeros(PHOTO.shape[:2], bool)
    inside[32:64, 24:72] = True
    assert np.array_equal(target[~inside], PHOTO[~inside])
    assert np.abs(target.astype(float) - PHOTO)[inside].mean() > 5
    assert np.abs(_target(operator(_pair(), 6)).astype(float) - target)[inside].mean() > 0.5


def test_in_turns_it_makes_the_same_with_one_editor_on_the_gpu(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr("operators.paint.best_edit.alone", turns.append)
    operator = _quick(tiny)
    pair = operator(_pair(), 5)
    assert turns == []
    in_turns = operator.taking_turns()
    assert in_turns(_pair(), 5) == pair
    assert turns == [*operator.folders]
    assert operator.loads == ("flux-kontext", "flux-fill", "clip")
    assert in_turns.loads == ("flux-fill", "clip")


@pytest.mark.parametrize("role", ["flux-kontext", "flux-fill"])
def test_without_one_of_the_editors_one_line_says_which(role: str, tiny: str, tmp_path: Path) -> None:
    models = shutil.copytree(tiny, tmp_path / "models", ignore=shutil.ignore_patterns(role))
    with pytest.raises(ValueError, match=rf"^{role} .*needed by.*editing") as caught:
        BestEdit(scores=SCORES).bound(str(models))
    assert "\n" not in str(caught.value)


def test_every_candidate_is_kept_as_it_is_painted(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator = _quick(tiny)
    expected = operator(_pair(), 5)
    with keeping(str(tmp_path)):
        with accounting() as painting:
            assert operator(_pair(), 5) == expected
        assert painting.pictures == len([*tmp_path.iterdir()]) == 4
        for editor in ("by_kontext", "by_fill"):
            monkeypatch.setattr(f"operators.paint.best_edit.{editor}", None)
        with accounting() as replaying:
            assert operator(_pair(), 5) == expected
    assert (replaying.pictures, replaying.replayed_pictures) == (0, 4)


def test_other_scores_or_a_third_candidate_are_no_reason_to_paint_the_first_two_again(
    tiny: str, tmp_path: Path
) -> None:
    operator = _quick(tiny)
    with keeping(str(tmp_path)):
        operator(_pair(), 5)
        with accounting() as account:
            scores = replace(operator.scores, measures=("ssim",))
            replace(operator, candidates=3, rank="ssim", scores=scores)(_pair(), 5)
            assert (account.pictures, account.replayed_pictures) == (2, 4)
        for other in (
            replace(operator, kontext=replace(TWO, guidance=2.5)),
            replace(operator, models=(("flux-kontext", "trained on"), operator.models[1])),
            replace(operator, at_once=2),
        ):
            with accounting() as account:
                other(_pair(where=EVERYWHERE), 5)
            assert (account.pictures, account.replayed_pictures) == (2, 0)


def test_the_candidates_are_carried_where_they_are_to_be_stored(edits: Callable[..., BestEdit], tiny: str) -> None:
    operator = edits(["unchanged", "blurred"], ["smeared", "unrelated"], rank="ssim")
    plain, pair = operator(_pair(), 5), replace(operator, keep_candidates=True)(_pair(), 5)
    assert plain.candidates == () and replace(pair, candidates=()) == plain
    _, second, third, _ = pair.candidates
    assert [one.won for one in pair.candidates] == [False, True, False, False]
    assert [one.reason for one in pair.candidates] == ["high_ssim", None, None, "low_ssim"]
    for candidate, name in zip(pair.candidates, ("unchanged", "blurred", "smeared", "unrelated"), strict=True):
        assert np.array_equal(decode_rgb(candidate.image.data), KNOWN[name])
        assert candidate.pair == pair.key
    tried = _steps(pair)[0].params["candidates"]
    assert [dict(one.scores) for one in pair.candidates] == [one["scores"] for one in tried]
    for candidate, editor, prompt in ((second, "kontext", "add a hat"), (third, "fill", "a cat with a hat")):
        model, revision = identity(f"{tiny}/flux-{editor}", f"flux-{editor}")
        number = {"kontext": "1", "fill": "0"}[editor]
        sampling = {"kontext": {"steps": 28, "guidance": 2.5}, "fill": {"steps": 50, "guidance": 30.0}}[editor]
        assert candidate.step == Step(
            operator="best_edit",
            version=3,
            params={"part": editor, **sampling},
            seed=seed_for(5, editor, number),
            model=model,
            model_revision=revision,
            prompt=prompt,
        )
    assert second.image == pair.image("target")


def test_without_a_good_one_the_reject_carries_them(edits: Callable[..., BestEdit]) -> None:
    names = ["unchanged", "unrelated"]
    caught: list[tuple[Candidate, ...]] = []
    for keep in (False, True):
        with pytest.raises(Reject, match="none of 4") as reject:
            replace(edits(names, names), keep_candidates=keep)(_pair(), 5)
        caught.append(reject.value.candidates)
    assert caught[0] == ()
    assert [(one.won, one.reason) for one in caught[1]] == [(False, "high_ssim"), (False, "low_ssim")] * 2
    assert {one.pair for one in caught[1]} == {_pair().key}


def _quick(tiny: str) -> BestEdit:
    """Two candidates of each editor in two steps, all within bounds."""
    every = Scores(measures=("clip_direction", "ssim"))
    return BestEdit(scores=every, candidates=2, kontext=TWO, fill=TWO).bound(tiny)


def _pair(where: str | list[int] = BOX) -> Pair:
    texts = {"instruction": "add a hat", "source_caption": "a cat", "target_caption": "a cat with a hat"}
    proposal = Step(operator="propose_edit", version=2, params={"where": where})
    return replace(pair_of(lossless("input", PHOTO)), texts=texts, steps=(proposal,))


def _steps(pair: Pair) -> list[Step]:
    return [step for step in pair.steps if step.operator == "best_edit"]


def _target(pair: Pair) -> Pixels:
    image = pair.image("target")
    assert image
    return decode_rgb(image.data)
