from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from manifests.schema import Pair, Reject, seed_for
from operators.base import BatchOperator
from operators.option import with_options
from operators.vlm.client import Asks
from operators.word.propose_edit import EVERYWHERE, KINDS, ProposeEdit
from tests.operators.asking import Asked, pair_with

HAT = "Instruction: Add a hat.\nBefore: A cat.\nAfter: A cat with a hat."


def test_a_proposal_becomes_an_instruction_and_two_captions(asked: Asked) -> None:
    asked.server.answer = lambda text: f"{HAT}\nWhere: 120, 0, 560, 300"
    (pair,) = ProposeEdit().asking(asked.vlm, None).many([pair_with("input")], [3])
    assert isinstance(pair, Pair)
    texts = {"instruction": "Add a hat.", "source_caption": "A cat.", "target_caption": "A cat with a hat."}
    assert pair.texts == texts
    (step,) = pair.steps
    assert step.params.items() >= texts.items() and step.params["kind"] in KINDS
    assert step.params["where"] == [120, 0, 560, 300]
    assert step.prompt and step.prompt.startswith("propose-edit-3@") and step.model == "m"
    assert str(step.params["kind"]) in asked.server.requests[0]["messages"][0]["content"][-1]["text"]


def test_an_edit_may_show_everywhere(asked: Asked) -> None:
    answers = iter(["everywhere", "**Everywhere.**", "everywhere in the image"])
    asked.server.answer = lambda text: f"{HAT}\nWhere: {next(answers)}"
    operator = ProposeEdit().asking(asked.vlm, None)
    for number in range(3):
        (pair,) = operator.many([pair_with("input", number=number)], [3])
        assert isinstance(pair, Pair) and pair.steps[0].params["where"] == EVERYWHERE


def test_a_model_is_asked_for_boxes_as_its_family_counts_them(asked: Asked) -> None:
    """A photo of 48 x 40 px is seen by Qwen2.5-VL as 84 x 56 px: sqrt(3,136 / 1,920) is 1.278, times 48 and 40 is 61.3
    and 51.1, and the next multiples of 28 are 84 and 56. So 21 / 84 = 0.25, 14 / 56 = 0.25, 63 / 84 = 0.75."""
    asked.server.answer = lambda text: f"{HAT}\nWhere: [21, 14, 63, 56]"
    pair = pair_with("input")
    qwen25 = ProposeEdit().asking(replace(asked.vlm, model="Qwen/Qwen2.5-VL-7B-Instruct"), None)
    assert "which is 84 wide and 56 high" in qwen25.requests(pair, 3)[0].text
    (made,) = qwen25.many([pair], [3])
    assert isinstance(made, Pair) and made.steps[0].params["where"] == [250, 250, 750, 1000]
    (made,) = with_options(qwen25, {"boxes": "thousandths"}).many([pair], [3])
    assert isinstance(made, Pair) and made.steps[0].params["where"] == [21, 14, 63, 56]


def test_one_that_localises_poorly_is_asked_for_no_box_unless_told(asked: Asked) -> None:
    asked.server.answer = lambda text: f"{HAT}\nWhere: 21, 14, 63, 56"
    gpt = ProposeEdit().asking(replace(asked.vlm, model="gpt-4o"), None)
    (request,) = gpt.requests(pair_with("input"), 3)
    assert "the word everywhere." in request.text and "box" not in request.text
    (made,) = gpt.many([pair_with("input")], [3])
    assert isinstance(made, Pair) and made.steps[0].params["where"] == EVERYWHERE
    (made,) = replace(gpt, boxes="thousandths").many([pair_with("input")], [3])
    assert isinstance(made, Pair) and made.steps[0].params["where"] == [21, 14, 63, 56]


@pytest.mark.parametrize(
    "said",
    [
        json.dumps(
            {"instruction": "Add a hat.", "before": "A cat.", "after": "A cat with a hat.", "where": [1, 2, 3, 4]}
        ),
        "**Instruction:** Add a hat.\n**Before:** A cat.\n**After:** A cat with a hat.\n**Where:** (1,2),(3,4).",
        "Sure!\n\n1. Instruction: „Add a hat.“\n2. Before: A cat.\n3. After: A cat with a hat.\n4. Where: [1, 2, 3, 4]",
    ],
)
def test_a_proposal_is_read_in_any_form(said: str, asked: Asked) -> None:
    asked.server.answer = lambda text: said
    (pair,) = ProposeEdit().asking(asked.vlm, None).many([pair_with("input")], [3])
    assert isinstance(pair, Pair) and pair.steps[0].params["where"] == [1, 2, 3, 4]
    texts = {"instruction": "Add a hat.", "source_caption": "A cat.", "target_caption": "A cat with a hat."}
    assert pair.texts == texts


def test_all_kinds_are_proposed() -> None:
    pair = pair_with("input")
    texts = [ProposeEdit().requests(pair, seed_for(0, str(number)))[0].text for number in range(700)]
    counts = Counter(next(kind for kind in KINDS if kind in text) for text in texts)
    assert set(counts) == set(KINDS) and min(counts.values()) > 60


@pytest.mark.parametrize(
    "said",
    [
        "Instruction: Add a hat.",
        HAT,
        f"{HAT}\nWhere: on it",
        f"{HAT}\nWhere: 9, 9, 9, 9",
        f"{HAT}\nWhere: everywhere but in 1, 2, 3, 4",
        f"{HAT}\nWhere: not everywhere",
    ],
)
def test_anything_else_is_a_reject_with_the_raw_text(said: str, asked: Asked) -> None:
    asked.server.answer = lambda text: said
    (reject,) = ProposeEdit().asking(asked.vlm, None).many([pair_with("input")], [3])
    assert isinstance(reject, Reject) and (reject.reason, reject.message) == ("unparsed", said)


def test_the_engine_knows_what_it_is() -> None:
    assert isinstance(ProposeEdit(), BatchOperator) and isinstance(ProposeEdit(), Asks)
