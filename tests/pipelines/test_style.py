"""The style task end to end on tiny checkpoints: FLUX, RB-Modulation, scores, shards, manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from manifests.images.pixels import decode_rgb
from manifests.schema import Pair
from manifests.verify.dataset import verify
from operators.base import Link
from operators.judge.scores import Bound, Scores
from operators.models.rb.parameters import StageCSampling
from operators.option import with_options
from operators.paint.flux import Flux
from operators.paint.rb_modulation import RbModulation
from operators.read.style_prompts import STYLES, StylePrompts
from operators.vlm.client import Vlm
from pipelines.prepare import prepare
from pipelines.run.chain import make_pairs
from pipelines.run.spent import Spent
from pipelines.tasks.personalisation import STYLE
from pipelines.tasks.task import Task
from tests.datasets import Row, examples, make_dataset, nearest, rejects
from tests.vlm import KEY, running

MEASURED = {"style", "style_gain", "clip_image", "dino", "ssim", "sharpness", "mean_abs_diff"}
CHECKPOINTS = {"flux", "stable-cascade-prior", "stable-cascade", "csd", "clip", "dino"}


@pytest.fixture(scope="module")
def task(tiny: str) -> Task:
    """The task with few steps, in blocks that small datasets hold whole."""
    return STYLE.changed(_quick).bound(tiny)


def test_pairs_come_with_contexts_of_their_style_and_all_provenance(task: Task, tmp_path: Path) -> None:
    everything = (Bound(score="clip_image", low=-1, high=1),)
    open_task = task.changed(lambda link: replace(link, bounds=everything) if isinstance(link, Scores) else link)
    dataset = make_dataset(tmp_path, None, task=open_task, reader=StylePrompts(count=10))
    assert [finding.message for finding in verify(dataset.url)] == []
    rows = examples(dataset)
    assert len(rows) == 10 and rejects(dataset) == []
    style_of = {row["pair"]: _params(row)["style"] for row in rows}
    assert sorted(style_of.values()) == sorted([STYLES[0]] * 8 + [STYLES[1]] * 2)
    for row in rows:
        assert (row["direction"], row["kind"], row["inputs"], row["output"]) == (
            "forward",
            "generate",
            ["input"],
            "target",
        )
        assert nearest(row)["pair"] != row["pair"] and style_of[nearest(row)["pair"]] == style_of[row["pair"]]
        assert {image["role"] for image in row["images"]} == {"style", "input", "target"}
        assert dict(row["scores"]).keys() == MEASURED
        assert {step["model"] for step in row["steps"] if step["model"]} == CHECKPOINTS
        makers = [step for step in row["steps"] if step["operator"] in ("flux", "rb_modulation")]
        assert len(makers) == 5 and all(step["seed"] is not None and step["model_revision"] for step in makers)
        prompts = [step["prompt"] for step in makers]
        subject, style = _params(row)["subject"], _params(row)["style"]
        assert prompts[1:4] == [f"{subject}, photo", *[f"{subject} in {style} style"] * 2]
        assert prompts[0].endswith(f", {style} style")


def test_gates_reject_with_scores(task: Task, tmp_path: Path) -> None:
    nothing = _bounded(task, Bound(score="style_gain", low=3.0, high=4.0))
    dataset = make_dataset(tmp_path, None, task=nothing, reader=StylePrompts(count=2))
    found = rejects(dataset)
    assert {row["reason"] for row in found} == {"low_style_gain"}
    assert all(dict(row["scores"]).keys() >= {"style", "style_gain", "clip_image"} for row in found)


def test_where_a_model_is_configured_both_of_its_answers_must_be_yes(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    everything = _bounded(task, Bound(score="clip_image", low=-1, high=1))
    with running() as server:
        server.answer = lambda text: f"Reasoning: So it is.\nAnswer: {'No' if 'Style exemplar' in text else 'Yes'}"
        vlm = replace(Vlm.of(server.url, "m", None), responses=str(tmp_path / "responses"))
        dataset = make_dataset(tmp_path, None, task=everything.asking(vlm), reader=StylePrompts(count=2))
    found = rejects(dataset)
    assert [(row["operator"], row["reason"]) for row in found] == [("vlm_filter", "other_style")] * 2
    assert all(dict(row["scores"]).items() >= {"same_content": 1, "same_style": 0}.items() for row in found)


def test_a_pair_has_the_same_bytes_whatever_is_made_before_and_beside_it(task: Task) -> None:
    reader = StylePrompts(count=3)
    items = list(reader.items(()))
    chain = [link for link in task.chain if isinstance(link, Flux | RbModulation)]
    together = make_pairs(reader, "style", 0, items, chain, Spent())
    alone = [make_pairs(reader, "style", 0, [item], chain, Spent())[0] for item in reversed(items)][::-1]
    assert together == alone
    assert all(isinstance(pair, Pair) and decode_rgb(pair.images[-1].data).std() > 5 for pair in together)


def test_only_a_recipe_of_prompts_has_a_count() -> None:
    assert with_options(StylePrompts(), {"count": 5}) == StylePrompts(count=5)
    with pytest.raises(ValueError, match="--count: 0 is less than 1"):
        STYLE.options["count"].parsed("0")
    with pytest.raises(ValueError, match="derain has no option count"):
        prepare("derain", {"count": 5})
    with pytest.raises(ValueError, match="--count is not for scikit-image photos"):
        prepare("tryon", {"count": 5})


def _bounded(task: Task, bound: Bound) -> Task:
    """The task with one bound in place of its own."""
    return task.changed(lambda link: replace(link, bounds=(bound,)) if isinstance(link, Scores) else link)


def _quick(link: Link) -> Link:
    if isinstance(link, Flux):
        return replace(link, steps=2)
    return replace(link, sampling=StageCSampling(steps=3)) if isinstance(link, RbModulation) else link


def _params(row: Row) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        next(step["params"] for step in row["steps"] if step["operator"] == "style_prompts")
    )
    return found
