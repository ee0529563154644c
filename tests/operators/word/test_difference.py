from __future__ import annotations

import json
from dataclasses import replace

import pytest

from manifests.schema import Example, Pair, Reject
from operators.base import BatchOperator
from operators.vlm.client import Asks
from operators.word.difference import SUBTASKS, Difference
from operators.word.instruct import Instruct
from pipelines.tasks.task import FOUR
from tests.operators.asking import Asked, pair_with

SAID = {
    "differences": "A hat is on the dog.",
    "reverse_differences": "The dog wears no hat.",
    "subtask": "Object Addition",
    "reverse_prompt": "Take the hat off.",
}


def _edit(number: int = 0) -> Pair:
    return Instruct(forward=("Add a hat.",))(pair_with("input", "target", number=number), 1)


def _operator(asked: Asked) -> Difference:
    return replace(Difference().asking(asked.vlm, None), examples=FOUR)


def test_an_edit_gets_both_descriptions_and_the_way_back_in_one_call(asked: Asked) -> None:
    asked.server.answer = lambda text: json.dumps(SAID)
    (pair,) = _operator(asked).many([_edit()], [5])
    assert isinstance(pair, Pair)
    made = {(example.direction, example.kind): example for example in pair.examples}
    assert set(made) == set(FOUR)
    assert made["reverse", "generate"] == Example(
        direction="reverse", kind="generate", inputs=("target",), output="input", instruction="Take the hat off."
    )
    forward, back = made["forward", "describe"], made["reverse", "describe"]
    assert (forward.inputs, forward.output, forward.text) == (("input", "target"), None, "A hat is on the dog.")
    assert (back.inputs, back.output, back.text) == (("target", "input"), None, "The dog wears no hat.")
    step = pair.steps[-1]
    assert (step.operator, step.version, step.seed, step.params) == (
        "difference",
        2,
        5,
        {"subtask": "Object Addition"},
    )
    assert (step.model, step.model_revision) == ("m", "m-2026-01-01")
    assert step.prompt and step.prompt.startswith("difference-1@")
    assert asked.server.paid.total() == 1
    (request,) = asked.server.requests
    text = "".join(part.get("text", "<image>") for part in request["messages"][0]["content"])
    assert "Input image: <image>\nOutput image: <image>" in text and "Add a hat." in text
    assert all(subtask in text for subtask in SUBTASKS)


def test_only_what_is_lacking_is_added_and_what_lacks_nothing_costs_nothing(asked: Asked) -> None:
    asked.server.answer = lambda text: json.dumps(SAID)
    instructed = Instruct(forward=("Derain.",), reverse=("Add rain.",))(pair_with("input", "target"), 1)
    (pair,) = _operator(asked).many([instructed], [5])
    assert isinstance(pair, Pair)
    assert [example.instruction for example in pair.examples[:2]] == ["Derain.", "Add rain."]
    assert [(example.direction, example.kind) for example in pair.examples[2:]] == [
        ("forward", "describe"),
        ("reverse", "describe"),
    ]
    assert _operator(asked).many([pair], [5]) == [pair]
    forward_only = replace(_operator(asked), examples=(("forward", "generate"),))
    assert forward_only.many([instructed], [5]) == [instructed]
    assert asked.server.paid.total() == 1


@pytest.mark.parametrize(
    "answer", ["I see a dog.", json.dumps({**SAID, "subtask": "Hat"}), json.dumps({**SAID, "reverse_prompt": ""})]
)
def test_what_does_not_parse_is_a_reject_with_the_raw_text_and_costs_no_other_pair(answer: str, asked: Asked) -> None:
    answers = iter([answer, json.dumps(SAID)])
    asked.server.answer = lambda text: next(answers)
    one_at_a_time = replace(asked.vlm, concurrency=1)
    operator = replace(_operator(asked), vlm=one_at_a_time)
    bad, good = operator.many([_edit(0), _edit(1)], [5, 6])
    assert isinstance(bad, Reject) and (bad.reason, bad.message) == ("unparsed", answer)
    assert isinstance(good, Pair) and len(good.examples) == 4


PROSE = {
    "The input image shows a dog without a hat. The output image shows the same dog with a red hat.\n"
    "Sub-task: Object Addition\nReverse editing prompt: Take the hat off.": (
        "The input image shows a dog without a hat. The output image shows the same dog with a red hat.",
        "The output image shows a dog without a hat. The input image shows the same dog with a red hat.",
    ),
    "**Differences:**\n- Input image: a dog without a hat.\n- Output image: the dog wears a hat. A bow was added.\n\n"
    '**Sub-task:** Object Addition\n\n**Reverse editing prompt:** "Take the hat off."': (
        "Input image: a dog without a hat. Output image: the dog wears a hat. A bow was added.",
        "Output image: a dog without a hat. Input image: the dog wears a hat.",
    ),
    "In the first image the dog has no hat. Both show a garden. This is an Object Addition.\n"
    "Reverse prompt: „Take the hat off.“": (
        "In the first image the dog has no hat. Both show a garden.",
        "In the output image the dog has no hat. Both show a garden.",
    ),
    json.dumps({**SAID, "confidence": 1}): (SAID["differences"], SAID["reverse_differences"]),
}


@pytest.mark.parametrize("answer", PROSE)
def test_the_prompt_in_the_papers_words_is_answered_in_prose(answer: str, asked: Asked) -> None:
    asked.server.answer = lambda text: answer
    operator = replace(Difference().asking(asked.vlm, "paper"), examples=FOUR)
    (pair,) = operator.many([_edit()], [5])
    assert isinstance(pair, Pair)
    made = {(example.direction, example.kind): example for example in pair.examples}
    assert (made["forward", "describe"].text, made["reverse", "describe"].text) == PROSE[answer]
    assert made["reverse", "generate"].instruction == "Take the hat off."
    assert pair.steps[-1].params == {"subtask": "Object Addition"}
    assert (pair.steps[-1].prompt or "").startswith("paper-difference-1@")
    text = "".join(part.get("text", "") for part in asked.server.requests[0]["messages"][0]["content"])
    assert "Add a hat." not in text


@pytest.mark.parametrize(
    "answer",
    [
        "A hat was added.\nSub-task: Object Addition\nReverse prompt: Take the hat off.",  # which image has it?
        "The output image has a hat.\nSub-task: Object Addition",
        "The output image has a hat.\nReverse prompt: Take the hat off.",
        "The output image has a hat.\nSub-task: Object Addition or Object Removal\nReverse prompt: Take it off.",
        "The output image has a hat. Object Addition, Object Removal?\nReverse prompt: Take it off.",
        "The output image has a hat.\nSub-task: Hat Addition\nReverse prompt: Take the hat off.",
        "The output image has a hat.\nSub-task: Object Addition\nReverse prompt: I'm sorry, I can't do that.",
    ],
)
def test_prose_that_leaves_something_open_is_a_reject(answer: str, asked: Asked) -> None:
    asked.server.answer = lambda text: answer
    (bad,) = replace(Difference().asking(asked.vlm, "paper"), examples=FOUR).many([_edit()], [5])
    assert isinstance(bad, Reject) and (bad.reason, bad.message) == ("unparsed", answer)


def test_the_engine_knows_what_it_is() -> None:
    assert isinstance(Difference(), BatchOperator) and isinstance(Difference(), Asks)
    assert Difference().vlm is None
