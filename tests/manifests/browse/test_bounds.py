"""Which bounds a score has, and that those of them that users may set are what operators declare."""

from __future__ import annotations

from manifests.browse.bounds import OPTIONS, bounds_of
from operators.judge.degraded import Degraded
from operators.judge.gate import Gate
from operators.judge.scores import Bound, Scores
from operators.option import options_of, parameters
from pipelines.tasks.catalogue import OUR_TASKS


def test_the_options_are_those_of_the_operators() -> None:
    declared = {
        (link.name, field)
        for task in OUR_TASKS.values()
        for link in task.chain
        for field, option in options_of(link)
        if field.startswith(("min_", "max_"))
    }
    flags = {
        option.flag
        for task in OUR_TASKS.values()
        for link in task.chain
        for field, option in options_of(link)
        if (link.name, field) in OPTIONS
    }
    assert declared == OPTIONS and flags == {f"--{field.replace('_', '-')}" for _, field in OPTIONS}


def test_bounds_are_found_in_a_plan() -> None:
    scores = Scores(measures=("clip_image",), bounds=(Bound(score="clip_image", low=0.5, high=0.9),))
    links = (Gate(), Degraded(min_alignment=0.2), scores)
    config = {"operators": [{"name": link.name, "version": link.version, **parameters(link)} for link in links]}
    config["operators"].append({"name": "best_edit", "scores": parameters(scores)})

    def found(score: str) -> list[tuple[object, ...]]:
        keys = ("operator", "side", "value", "parameter", "option")
        return [tuple(bound[key] for key in keys) for bound in bounds_of(config, score)]

    assert found("alignment") == [("degraded", "low", 0.2, "min_alignment", "--min-alignment")]
    assert found("mean_abs_diff") == [("gate", "high", 1.0, "max_mean_abs_diff", None)]
    assert found("visible_change") == [("degraded", "low", 0.25, "min_visible", None)]
    both = [("low", 0.5, "", None), ("high", 0.9, "", None)]
    assert found("clip_image") == [(name, *bound) for name in ("scores", "best_edit") for bound in both]
    assert found("direction") == []


def test_what_others_wrote_has_none() -> None:
    for config in (
        {},
        {"operators": 3},
        {"operators": [None, {"name": 1}, {"name": "x", "bounds": [1, {"score": "a"}]}]},
    ):
        assert bounds_of(config, "a") == []
    assert bounds_of({"operators": [{"name": "x", "min_a": True, "max_a": "1"}]}, "a") == []
