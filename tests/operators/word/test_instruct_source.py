from __future__ import annotations

from dataclasses import replace

import pytest

from manifests.schema import Example, Reject, Step
from operators.word.instruct_source import Caption, EditInstruction, FromWords, GivenWords
from tests.sources import lossless, pair_of, photo

UNTIDY = "  Add a\n red\t\u00a0hat  "
EMPTY: tuple[dict[str, str], ...] = (
    {},
    {"instruction": "", "caption": ""},
    {"instruction": " \n\t", "caption": "\u2003"},
)


def test_an_edit_is_asked_for_in_the_words_of_its_source() -> None:
    pair = EditInstruction()(replace(pair_of(), texts={"instruction": UNTIDY, "caption": "A cat."}), 5)
    assert pair.examples == (
        Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction="Add a red hat"),
    )
    assert pair.steps == (Step(operator="edit_instruction", version=1),)


def test_what_is_made_of_words_alone_has_no_input() -> None:
    pair = FromWords()(replace(pair_of(), texts={"instruction": UNTIDY}), 5)
    assert pair.examples == (
        Example(direction="forward", kind="generate", inputs=(), output="target", instruction="Add a red hat"),
    )
    assert pair.steps == (Step(operator="from_words", version=1),)
    with pytest.raises(Reject) as reject:
        FromWords()(pair_of(), 5)
    assert reject.value.reason == "no_instruction"


def test_given_words_make_an_example_each_of_all_inputs_in_order() -> None:
    bare = pair_of(*(lossless(role, photo(0)) for role in ("input", "input_2", "input_3", "target", "mask")))
    texts = {"instruction": UNTIDY, "reverse": "Remove\nit", "caption": "A cat."}
    forward, reverse, describe = GivenWords()(replace(bare, texts=texts), 5).examples
    assert forward == Example(
        direction="forward",
        kind="generate",
        inputs=("input", "input_2", "input_3"),
        output="target",
        instruction="Add a red hat",
    )
    assert reverse == Example(
        direction="reverse", kind="generate", inputs=("target",), output="input", instruction="Remove it"
    )
    assert replace(describe, instruction="") == Example(
        direction="forward", kind="describe", inputs=("target",), output=None, instruction="", text="A cat."
    )
    assert describe.instruction == Caption()(replace(bare, texts=texts), 5).examples[1].instruction
    alone = GivenWords()(replace(bare, texts={"instruction": UNTIDY}), 5)
    assert alone.examples == (forward,)
    assert alone.steps == (Step(operator="given_words", version=1, seed=5),)
    with pytest.raises(Reject) as reject:
        GivenWords()(replace(bare, texts={"caption": "A cat."}), 5)
    assert reject.value.reason == "no_instruction"


def test_a_caption_is_instruction_and_answer() -> None:
    pair = Caption()(replace(pair_of(), texts={"caption": UNTIDY}), 5)
    generate, describe = pair.examples
    assert generate == Example(
        direction="forward", kind="generate", inputs=(), output="target", instruction="Add a red hat"
    )
    assert replace(describe, instruction="") == Example(
        direction="forward", kind="describe", inputs=("target",), output=None, instruction="", text="Add a red hat"
    )
    assert pair.steps == (Step(operator="caption", version=1, seed=5),)


def test_questions_for_a_caption_vary_with_the_seed_alone() -> None:
    captioned = replace(pair_of(), texts={"caption": "A cat."})
    asked = [Caption()(captioned, seed).examples[1].instruction for seed in range(100)]
    assert asked == [Caption()(captioned, seed).examples[1].instruction for seed in range(100)]
    assert len(set(asked)) == 5


def test_examples_that_are_there_stay() -> None:
    pair = replace(pair_of(), texts={"caption": "A cat.", "instruction": "Add a hat."})
    both = Caption()(EditInstruction()(pair, 1), 1)
    assert [(example.direction, example.kind) for example in both.examples] == [
        ("forward", "generate"),
        ("forward", "generate"),
        ("forward", "describe"),
    ]


@pytest.mark.parametrize("texts", EMPTY)
def test_a_pair_of_which_nothing_is_said_is_rejected(texts: dict[str, str]) -> None:
    pair = replace(pair_of(), texts=texts)
    with pytest.raises(Reject, match="the source has no instruction for it") as instruction:
        EditInstruction()(pair, 1)
    with pytest.raises(Reject, match="the source has no caption for it") as caption:
        Caption()(pair, 1)
    assert (instruction.value.reason, caption.value.reason) == ("no_instruction", "no_caption")
