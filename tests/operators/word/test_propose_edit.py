from __future__ import annotations

from collections import Counter

import pytest

from manifests.schema import Pair, Reject, seed_for
from operators.base import BatchOperator
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
    assert step.prompt and step.prompt.startswith("propose-edit-2@") and step.model == "m"
    assert str(step.params["kind"]) in asked.server.requests[0]["messages"][0]["content"][-1]["text"]


def test_an_edit_may_show_everywhere(asked: Asked) -> None:
    asked.server.answer = lambda text: f"{HAT}\nWhere: everywhere"
    (pair,) = ProposeEdit().asking(asked.vlm, None).many([pair_with("input")], [3])
    assert isinstance(pair, Pair) and pair.steps[0].params["where"] == EVERYWHERE


def test_all_kinds_are_proposed() -> None:
    pair = pair_with("input")
    texts = [ProposeEdit().requests(pair, seed_for(0, str(number)))[0].text for number in range(700)]
    counts = Counter(next(kind for kind in KINDS if kind in text) for text in texts)
    assert set(counts) == set(KINDS) and min(counts.values()) > 60


@pytest.mark.parametrize("said", ["Instruction: Add a hat.", HAT, f"{HAT}\nWhere: on it", f"{HAT}\nWhere: 9, 9, 9, 9"])
def test_anything_else_is_a_reject_with_the_raw_text(said: str, asked: Asked) -> None:
    asked.server.answer = lambda text: said
    (reject,) = ProposeEdit().asking(asked.vlm, None).many([pair_with("input")], [3])
    assert isinstance(reject, Reject) and (reject.reason, reject.message) == ("unparsed", said)


def test_the_engine_knows_what_it_is() -> None:
    assert isinstance(ProposeEdit(), BatchOperator) and isinstance(ProposeEdit(), Asks)
