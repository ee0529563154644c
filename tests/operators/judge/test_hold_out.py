from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from infra.command import main
from manifests.schema import Direction, Example, Kind, Pair, Reject
from operators.base import BatchOperator
from operators.judge.hold_out import NOVEL_TASKS, DropExamples, HoldOutEdits, hold_outs
from operators.vlm.client import Asks
from operators.word.difference import Difference
from pipelines.entries import DataRoot, plan_entry, with_parsed_options
from pipelines.prepare import prepare
from pipelines.recipe import Entry
from pipelines.tasks.catalogue import OUR_TASKS
from tests.fixtures import write_magicbrush
from tests.operators.asking import Asked
from tests.sources import pair_of

ALL: tuple[tuple[Direction, Kind], ...] = (
    ("forward", "generate"),
    ("reverse", "generate"),
    ("forward", "describe"),
    ("reverse", "describe"),
)


@pytest.mark.parametrize("task", ["derain", "lowlight", "retouch"])
def test_exactly_the_forward_generate_example_goes(task: str) -> None:
    (operator,) = hold_outs(task, ["derain", "lowlight"])
    assert isinstance(operator, DropExamples)
    kept = operator(_pair(ALL), 0)
    assert [(example.direction, example.kind) for example in kept.examples] == list(ALL[1:])
    (step,) = kept.steps
    assert (step.operator, step.params["dropped"]) == ("hold_out_examples", "forward generate")
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
        ("depth", list(NOVEL_TASKS), []),
        ("lowlight", ["lowlight", "lowlight"], [DropExamples]),
        ("ultraedit", list(NOVEL_TASKS), [HoldOutEdits]),
        ("magicbrush", ["object_edits"], [HoldOutEdits]),
    ],
)
def test_tasks_get_the_operators_of_their_novel_tasks_alone(
    task: str, names: Collection[str], expected: list[type]
) -> None:
    assert [type(operator) for operator in hold_outs(task, names)] == expected


def test_a_hold_out_that_would_hold_nothing_out_says_what_to_do_in_its_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = "depth_palette holds nothing out: .* --palette unseen"
    with pytest.raises(ValueError, match=message):
        hold_outs("depth", ["depth_palette"])
    assert main(["plan", "depth", "--hold-out", "depth_palette"]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(("by", "judged_by"), [("rules", None), ("vlm", "some-llm")])
def test_a_run_and_a_recipe_say_who_judges(by: str, judged_by: str | None, tmp_path: Path) -> None:
    """A model that reads texts alone will do, such as the paper's Llama-3: it is shown no image."""
    write_magicbrush(tmp_path / "MagicBrush")
    options = {"hold_out": ["object_edits"], "hold_out_by": by}
    with_model = {"vlm": "http://127.0.0.1:9/v1", "vlm_model": "some-llm"} if judged_by else {}
    run = prepare("magicbrush", {"data": str(tmp_path / "MagicBrush"), **options, **with_model})
    entry = with_parsed_options(Entry(task="magicbrush", options=options), OUR_TASKS["magicbrush"])
    planned = plan_entry(entry, OUR_TASKS["magicbrush"], DataRoot(url=str(tmp_path)), with_model)
    assert planned.prepared
    for prepared in (run, planned.prepared):
        (operator,) = (link for link in prepared.task.chain if isinstance(link, HoldOutEdits))
        assert (operator.by, operator.vlm.model if operator.vlm else None) == (by, judged_by)
        assert prepared.task.chain.index(operator) < [type(link) for link in prepared.task.chain].index(Difference)


def test_a_judge_of_edits_that_are_not_held_out_is_refused() -> None:
    """Nothing would be left out then, and nothing would say so."""
    with pytest.raises(ValueError, match="which are held out by --hold-out object_edits alone"):
        prepare("derain", {"hold_out": ["derain"], "hold_out_by": "vlm", "vlm": "http://127.0.0.1:9/v1"})


def test_an_unknown_novel_task_is_refused() -> None:
    with pytest.raises(ValueError, match="dehaze; there are derain, lowlight"):
        hold_outs("derain", ["dehaze"])


@pytest.mark.parametrize(
    ("instruction", "verdict"), [("add a hat", "object_addition"), ("remove the hat", "object_removal")]
)
def test_object_edits_are_rejected_with_the_verdict(instruction: str, verdict: str) -> None:
    pairs = [_said(instruction), _pair(ALL, instruction)]
    for reject in HoldOutEdits().many(pairs, [0, 0]):
        assert isinstance(reject, Reject)
        assert (reject.reason, reject.message) == ("held_out", verdict)


def test_other_edits_stay_whole_and_say_who_judged() -> None:
    pair = replace(_pair(ALL), texts={"instruction": "make it night"})
    (kept,) = HoldOutEdits().many([pair], [0])
    assert isinstance(kept, Pair) and kept.examples == pair.examples
    (step,) = kept.steps
    assert (step.operator, step.model, step.prompt) == ("hold_out_edits", None, None)
    assert step.params == {"novel_task": "object_edits", "verdict": "other", "by": "rules"}


def test_a_model_is_shown_the_instruction_alone_and_its_answer_is_the_verdict(asked: Asked) -> None:
    answers = {"add a hat": "object_addition", "make it {night}": " **Other.**\n", "hide it": "It is other"}
    asked.server.answer = lambda text: next(said for name, said in answers.items() if f"Instruction: {name}" in text)
    operator = HoldOutEdits(by="vlm").asking(asked.vlm, None)
    pairs = [_said("add a\nhat"), _said("make it {night}"), _said("hide it"), _said(" ")]
    rejected, kept, unparsed, silent = operator.many(pairs, [1, 2, 3, 4])
    assert isinstance(rejected, Reject) and (rejected.reason, rejected.message) == ("held_out", "object_addition")
    assert isinstance(unparsed, Reject) and (unparsed.reason, unparsed.message) == ("unparsed", "It is other")
    assert isinstance(silent, Reject) and silent.reason == "no_instruction"
    assert isinstance(kept, Pair)
    (step,) = kept.steps
    assert step.params == {"novel_task": "object_edits", "verdict": "other", "by": "vlm"}
    assert step.model and (step.prompt or "").startswith("edit-class-1@")
    assert asked.server.paid.total() == 3
    operator.many(pairs, [1, 2, 3, 4])
    assert asked.server.paid.total() == 3  # the stored answers are replayed


def test_rules_ask_nobody_and_a_model_is_a_must_where_it_is_to_judge(asked: Asked) -> None:
    rules, model = HoldOutEdits(), HoldOutEdits(by="vlm")
    assert isinstance(model, Asks) and isinstance(model, BatchOperator)
    assert (rules.optional, rules.calls, rules.requests(_said("add a hat"), 0)) == (True, 0, ())
    assert (model.optional, model.calls, len(model.requests(_said("add a hat"), 0))) == (False, 1, 1)
    assert rules.asking(asked.vlm, None) == rules
    magicbrush = OUR_TASKS["magicbrush"]
    task = replace(magicbrush, chain=(*hold_outs("magicbrush", ["object_edits"], "vlm"), *magicbrush.chain))
    with pytest.raises(ValueError, match="magicbrush needs a vision-language model"):
        task.asking(None)
    assert next(link.vlm for link in task.asking(asked.vlm).chain if isinstance(link, HoldOutEdits)) == asked.vlm


def test_without_an_instruction_a_pair_is_rejected() -> None:
    (reject,) = HoldOutEdits().many([_said(" ")], [0])
    assert isinstance(reject, Reject) and reject.reason == "no_instruction"


def test_who_judges_can_be_chosen_and_is_in_the_fingerprint() -> None:
    (rules,) = hold_outs("ultraedit", ["object_edits"])
    (model,) = hold_outs("ultraedit", ["object_edits"], "vlm")
    assert isinstance(rules, HoldOutEdits) and isinstance(model, HoldOutEdits)
    assert (asdict(rules)["by"], asdict(rules)["rules"], asdict(model)["by"]) == ("rules", {"rules": 1}, "vlm")


def _said(instruction: str) -> Pair:
    return replace(pair_of(), texts={"instruction": instruction})


def _pair(examples: tuple[tuple[Direction, Kind], ...], instruction: str = "") -> Pair:
    made = tuple(
        Example(direction=direction, kind=kind, inputs=("input",), output="target", instruction=instruction)
        for direction, kind in examples
    )
    return replace(pair_of(), examples=made)
