from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

import pytest

from manifests.schema import Direction, Example, Kind, Pair, Reject
from operators.judge.edit_classifier import EditLabel
from operators.judge.edit_llm import LlmClassifier
from operators.judge.hold_out import NOVEL_TASKS, DropExamples, HoldOutEdits, hold_outs
from tests.sources import pair_of

ALL: tuple[tuple[Direction, Kind], ...] = (
    ("forward", "generate"),
    ("reverse", "generate"),
    ("forward", "describe"),
    ("reverse", "describe"),
)


@pytest.mark.parametrize("task", ["derain", "lowlight", "retouch"])
def test_exactly_the_forward_generate_example_goes(task: str) -> None:
    (operator,) = hold_outs(task, ["derain", "lowlight", "depth_palette"])
    kept = operator(_pair(ALL), 0)
    assert [(example.direction, example.kind) for example in kept.examples] == list(ALL[1:])
    (step,) = kept.steps
    assert (step.operator, step.params["dropped"]) == ("hold_out", "forward generate")
    assert step.params["novel_task"] == ("derain" if task == "derain" else "lowlight")


def test_a_pair_of_which_nothing_is_left_is_rejected() -> None:
    with pytest.raises(Reject) as caught:
        DropExamples(novel_task="derain", examples=ALL[:1])(_pair(ALL[:1]), 0)
    assert caught.value.reason == "held_out"


@pytest.mark.parametrize(
    ("task", "names", "expected"),
    [
        ("derain", ["lowlight", "object_edits"], []),
        ("derain", [], []),
        ("denoise", list(NOVEL_TASKS), []),
        ("depth", ["depth_palette"], []),
        ("lowlight", ["lowlight", "lowlight"], [DropExamples]),
        ("ultraedit", list(NOVEL_TASKS), [HoldOutEdits]),
        ("magicbrush", ["object_edits"], [HoldOutEdits]),
    ],
)
def test_tasks_get_the_operators_of_their_novel_tasks_alone(
    task: str, names: Collection[str], expected: list[type]
) -> None:
    assert [type(operator) for operator in hold_outs(task, names)] == expected


def test_an_unknown_novel_task_is_refused() -> None:
    with pytest.raises(ValueError, match="dehaze; there are derain, lowlight"):
        hold_outs("derain", ["dehaze"])


@pytest.mark.parametrize(
    ("instruction", "verdict"), [("add a hat", "object_addition"), ("remove the hat", "object_removal")]
)
def test_object_edits_are_rejected_with_the_verdict(instruction: str, verdict: str) -> None:
    for pair in (_said(instruction), _pair(ALL, instruction)):
        with pytest.raises(Reject) as caught:
            HoldOutEdits()(pair, 0)
        assert (caught.value.reason, caught.value.message) == ("held_out", verdict)


def test_other_edits_stay_whole_and_say_who_judged() -> None:
    pair = replace(_pair(ALL), texts={"instruction": "make it night"})
    kept = HoldOutEdits()(pair, 0)
    assert kept.examples == pair.examples
    (step,) = kept.steps
    assert step.params == {"novel_task": "object_edits", "verdict": "other", "classifier": "RuleClassifier"}
    (step,) = HoldOutEdits(classifier=_Fixed(answer="other"))(pair, 0).steps
    assert (step.model, step.prompt) == ("fixed", "p1")


def test_an_answer_that_cannot_be_parsed_is_a_reject_with_the_raw_text() -> None:
    with pytest.raises(Reject) as caught:
        HoldOutEdits(classifier=_Fixed(answer="I think so"))(_said("add a hat"), 0)
    assert (caught.value.reason, caught.value.message) == ("unparsed", "I think so")


def test_without_an_instruction_a_pair_is_rejected() -> None:
    with pytest.raises(Reject) as caught:
        HoldOutEdits()(_said(" "), 0)
    assert caught.value.reason == "no_instruction"


def test_the_classifier_can_be_chosen_and_is_in_the_fingerprint() -> None:
    (rules,) = hold_outs("ultraedit", ["object_edits"])
    (llm,) = hold_outs("ultraedit", ["object_edits"], LlmClassifier(model="m"))
    assert asdict(rules)["classifier"] == {"rules": 1}  # type: ignore[call-overload]
    assert asdict(llm)["classifier"] == {"model": "m", "prompt": "edit-class-1"}  # type: ignore[call-overload]


@dataclass(frozen=True, kw_only=True)
class _Fixed:
    answer: str
    model: str | None = "fixed"
    prompt: str | None = "p1"

    def __call__(self, instruction: str) -> EditLabel:
        if self.answer != "other":
            raise ValueError(self.answer)
        return "other"


def _said(instruction: str) -> Pair:
    return replace(pair_of(), texts={"instruction": instruction})


def _pair(examples: tuple[tuple[Direction, Kind], ...], instruction: str = "") -> Pair:
    made = tuple(
        Example(direction=direction, kind=kind, inputs=("input",), output="target", instruction=instruction)
        for direction, kind in examples
    )
    return replace(pair_of(), examples=made)
