from __future__ import annotations

import json

import pytest

from manifests.schema import Pair, Reject
from operators.base import BatchOperator
from operators.vlm.client import Asks
from operators.word.relation import ATTRIBUTES, Relation
from tests.operators.asking import Asked, pair_with

SAID = {
    "layout": "image 1",
    "semantics": "image 2",
    "texture": "both",
    "details": "neither",
    "relation": "The dog of image 2 sits where the cat of image 1 sat.",
}


def test_a_composite_gets_where_each_attribute_comes_from(asked: Asked) -> None:
    asked.server.answer = lambda text: json.dumps(SAID)
    (pair,) = Relation().asking(asked.vlm, None).many([pair_with("input1", "input2", "target")], [1])
    assert isinstance(pair, Pair)
    assert pair.texts == SAID
    (step,) = pair.steps
    assert step.params == {name: SAID[name] for name in ATTRIBUTES}
    assert step.prompt and step.prompt.startswith("relation-1@")
    (request,) = asked.server.requests
    assert sum(part["type"] == "image_url" for part in request["messages"][0]["content"]) == 3


@pytest.mark.parametrize("wrong", [{"layout": "image 3"}, {"texture": ""}, {"relation": ["x"]}, {"more": "x"}])
def test_any_other_answer_is_a_reject_with_the_raw_text(wrong: dict[str, object], asked: Asked) -> None:
    asked.server.answer = lambda text: json.dumps({**SAID, **wrong})
    (reject,) = Relation().asking(asked.vlm, None).many([pair_with("input1", "input2", "target")], [1])
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.message) == ("unparsed", json.dumps({**SAID, **wrong}))


def test_the_engine_knows_what_it_is_and_the_plan_what_it_costs() -> None:
    operator = Relation(first="a", second="b", output="c")
    assert isinstance(operator, BatchOperator) and isinstance(operator, Asks)
    (request,) = operator.requests(pair_with("a", "b", "c"), 1)
    assert len(request.images) == 3
