from __future__ import annotations

import json

import pytest

from infra.tiny import chameleon as tiny_chameleon
from manifests.schema import Pair, Reject
from operators.base import BatchOperator
from operators.option import with_options
from operators.vlm.client import Asks
from operators.word.instruct import Instruct
from operators.word.relation import ATTRIBUTES, Relation
from tests.operators.asking import Asked, pair_with

SAID = {
    "layout": "image 1",
    "semantics": "image 2",
    "texture": "both",
    "details": "neither",
    "relation": "The dog of image 2 sits where the cat of image 1 sat.",
}


DENSE = "Combine the delicate layout of <image 1> with the fur of <image 2>. Let it look as soft as <image 2>."


def _composite() -> Pair:
    instruct = Instruct(forward=("Combine the two images.",), inputs=("input1", "input2"))
    return instruct(pair_with("input1", "input2", "target"), 1)


def test_a_composite_is_asked_for_by_a_dense_instruction_with_placeholders(asked: Asked) -> None:
    asked.server.answer = lambda text: DENSE
    (pair,) = Relation().asking(asked.vlm, None).many([_composite()], [1])
    assert isinstance(pair, Pair)
    (example,) = pair.examples
    assert (example.instruction, example.inputs, example.output) == (DENSE, ("input1", "input2"), "target")
    assert pair.texts == {"relation": DENSE}
    step = pair.steps[-1]
    assert (step.version, step.params) == (2, {"form": "dense"})
    assert step.prompt and step.prompt.startswith("relation-2@")
    (request,) = asked.server.requests
    content = request["messages"][0]["content"]
    assert sum(part["type"] == "image_url" for part in content) == 3
    assert "<image 1> and <image 2>" in content[-1]["text"]


@pytest.mark.parametrize(
    "answer",
    [
        f'"{DENSE}"',
        f"Prompt: {DENSE}",
        f"**Prompt:**\n\n{DENSE}",
        f"Sure! Here is the prompt:\n\n{DENSE}",
        DENSE.replace(". Let", ".\n\nLet"),
        DENSE.replace("<image ", "<Image"),
        DENSE.replace("<", "[").replace(">", "]"),
        DENSE.replace("<image 1>", "image 1").replace("<image 2>", "Image 2"),
    ],
)
def test_placeholders_and_paragraphs_are_read_in_any_form(answer: str, asked: Asked) -> None:
    asked.server.answer = lambda text: answer
    (pair,) = Relation().asking(asked.vlm, None).many([_composite()], [1])
    assert isinstance(pair, Pair) and pair.examples[0].instruction == DENSE


@pytest.mark.parametrize(
    "answer",
    [
        "Combine a cat with a dog in the layout of the first image.",
        "Combine the layout of <image 1> with a dog.",
        "Make <image 3> of the layout of <image 1> and the fur of <image 2>.",
        "I'm sorry, I can't compose <image 1> and <image 2>.",
    ],
)
def test_an_instruction_that_does_not_call_just_both_images_is_a_reject(answer: str, asked: Asked) -> None:
    asked.server.answer = lambda text: answer
    (reject,) = Relation().asking(asked.vlm, None).many([_composite()], [1])
    assert isinstance(reject, Reject) and (reject.reason, reject.message) == ("unparsed", answer)


def test_placeholders_are_text_for_the_trainer() -> None:
    """Chameleon's <image> stands for a picture: <image 1> has letters for tokens, none that is special."""
    tokenizer = tiny_chameleon.text_tokenizer(tiny_chameleon.CODES, tiny_chameleon.VOCAB_SIZE)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items()}
    ids = tokenizer.encode(DENSE, add_special_tokens=False).ids
    assert tokenizer.token_to_id("<image>") in special and not special & set(ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == DENSE


def test_attributes_are_an_option_and_go_on_with_the_instruction(asked: Asked) -> None:
    asked.server.answer = lambda text: json.dumps({**SAID, "more": "x"})
    (pair,) = Relation(form="attributes").asking(asked.vlm, None).many([_composite()], [1])
    assert isinstance(pair, Pair)
    assert pair.texts == SAID
    assert pair.examples[0].instruction == f"Combine the two images. {SAID['relation']}"
    step = pair.steps[-1]
    assert step.params == {"form": "attributes", **{name: SAID[name] for name in ATTRIBUTES}}
    assert step.prompt and step.prompt.startswith("relation-attributes-1@")
    assert with_options(Relation(), {"relation": "attributes"}) == Relation(form="attributes")


@pytest.mark.parametrize("wrong", [{"layout": "image 3"}, {"texture": ""}, {"layout": "image 1 or image 2"}])
def test_other_attributes_are_a_reject_with_the_raw_text(wrong: dict[str, object], asked: Asked) -> None:
    asked.server.answer = lambda text: json.dumps({**SAID, **wrong})
    (reject,) = Relation(form="attributes").asking(asked.vlm, None).many([_composite()], [1])
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.message) == ("unparsed", json.dumps({**SAID, **wrong}))


def test_the_engine_knows_what_it_is_and_the_plan_what_it_costs() -> None:
    operator = Relation(first="a", second="b", output="c")
    assert isinstance(operator, BatchOperator) and isinstance(operator, Asks)
    (request,) = operator.requests(pair_with("a", "b", "c"), 1)
    assert len(request.images) == 3
