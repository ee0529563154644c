from __future__ import annotations

import numpy as np
import pytest

from tests.xprompt_model.small import XP_TOKENS, build, document, picture, text, turn, vocabulary
from xprompt_model.layout import IE, TD, XP, Turn, Weights, build_context, build_prompt

WORDS = vocabulary()


def test_an_example_and_what_is_to_be_done() -> None:
    task, context = turn(0), turn(1)
    found = build(task, [context])
    image = 16 + 2
    example = [0, *text(1), *WORDS.image_block(context.inputs[0]), WORDS.separator, *WORDS.image_block(context.output)]
    asked = [*text(0), *WORDS.image_block(task.inputs[0]), WORDS.separator]
    answer = [*WORDS.image_block(task.output), WORDS.end_text]
    assert found.ids.tolist() == [*example, *range(XP_TOKENS), *asked, *answer]
    assert found.segment.tolist() == (
        [IE] * (1 + 6 + image + 1 + image) + [XP] * XP_TOKENS + [TD] * (6 + image + 1 + image + 1)
    )
    assert found.weight.tolist() == [0] * (len(example) + XP_TOKENS + len(asked)) + [1] * len(answer)
    assert [str(part.dtype) for part in (found.ids, found.segment, found.weight)] == ["int64", "int8", "float32"]


def test_an_example_may_have_an_image_more_than_what_is_to_be_done() -> None:
    """Two persons in one pose, then a third from words (paper section 4.5)."""
    found = build(Turn(instruction=text(0), output=picture(0)), [turn(1)])
    shown = [*WORDS.image_block(turn(1).inputs[0]), WORDS.separator, *WORDS.image_block(turn(1).output)]
    asked = [*text(0), WORDS.separator, *WORDS.image_block(picture(0)), WORDS.end_text]
    assert found.ids.tolist() == [WORDS.begin_text, *text(1), *shown, *range(XP_TOKENS), *asked]
    assert found.weight.tolist() == [0] * (len(found) - 19) + [1] * 19


def test_text_to_image_needs_no_example() -> None:
    found = build(Turn(instruction=text(0), output=picture(0)), [])
    assert found.ids.tolist() == [
        WORDS.begin_text,
        *text(0),
        WORDS.separator,
        *WORDS.image_block(picture(0)),
        WORDS.end_text,
    ]
    assert set(found.segment) == {TD}


def test_a_description_is_text_after_two_images() -> None:
    task = Turn(instruction=text(0), inputs=(picture(0), picture(1)), output=text(2, 9))
    found = build(task, [], weights=Weights(text=0.5, image=3))
    assert found.ids[-10:].tolist() == [*text(2, 9), WORDS.end_text]
    assert found.weight.tolist() == [0] * (len(found) - 10) + [0.5] * 10


def test_weights_reach_their_tokens_only() -> None:
    found = document(image=2.0, context_image=0.25)
    before_xp = int(np.argmax(found.segment == XP))
    assert found.weight[before_xp - 18 : before_xp].tolist() == [0.25] * 18
    assert found.weight[-19:].tolist() == [2.0] * 19
    assert np.count_nonzero(found.weight) == 18 + 19
    described = document(describe=True, context_image=0.25)
    assert np.count_nonzero(described.weight) == 9 + 1, "the example's answer is a text, which this weight is not for"


def test_the_prompts_weight_reaches_instruction_inputs_and_separator_by_what_they_are() -> None:
    weights = Weights(image=2.0, text=3.0, prompt=0.5, prompt_text=0.4, prompt_image=0.1)
    parts = {False: [2.0] * 19, True: [3.0] * 10}
    for describe, output in parts.items():
        asked = [0.2] * 6 + [0.05] * 18 + [0.2]
        alone = build(turn(0, describe=describe), [], weights=weights)
        assert alone.weight.tolist() == pytest.approx([0, *asked, *output])
        shown = build(turn(0, describe=describe), [turn(1)], weights=weights)
        assert shown.weight.tolist() == pytest.approx([0] * 49 + asked + output)
        # Of two examples, the last XP token sees the second only: it is not asked what TD begins with.
        several = build(turn(0, describe=describe), [turn(1), turn(2)], weights=weights)
        assert several.weight.tolist() == pytest.approx([0] * 98 + [0] + asked[1:] + output)


def test_images_of_examples_may_be_smaller_and_those_of_td_may_not() -> None:
    small = Turn(instruction=text(1), inputs=(picture(1)[:2, :2],), output=picture(2)[:2, :2])
    found = build(turn(0), [small])
    blocks = [WORDS.image_block(codes, 2).tolist() for codes in (small.inputs[0], small.output)]
    assert [len(block) for block in blocks] == [6, 6]
    assert found.ids[:20].tolist() == [WORDS.begin_text, *text(1), *blocks[0], WORDS.separator, *blocks[1]]
    with pytest.raises(ValueError, match="an image of 4 codes: it has 4 x 4"):
        build(small, [])
    with pytest.raises(ValueError, match="an image of 8 codes: it has 2 x 2"):
        build(turn(0), [Turn(instruction=text(1), output=picture(2)[:2])])


def test_a_prompt_is_the_document_up_to_its_answer() -> None:
    for context in (turn(1), None):
        whole = build(turn(0), [context] if context else [])
        before = build_context(context, WORDS, xp_tokens=XP_TOKENS)
        prompt = build_prompt(text(0), [picture(0)], WORDS)
        ids = [*before.ids, *prompt.ids]
        assert ids == whole.ids[: len(ids)].tolist()
        assert [*before.segment, *prompt.segment] == whole.segment[: len(ids)].tolist()
        assert np.flatnonzero(whole.weight)[0] == len(ids)


@pytest.mark.parametrize("window", [120, 6_000])
def test_a_document_longer_than_the_window_is_refused(window: int) -> None:
    rest = window - len(document())
    longest = Turn(instruction=text(0, 6 + rest), inputs=(picture(0),), output=picture(100))
    assert len(build(longest, [turn(1)], window_tokens=window)) == window
    with pytest.raises(ValueError, match=f"a document of {window + 1:,} tokens: the context window has {window:,}"):
        build(longest, [turn(1)], window_tokens=window, xp_tokens=XP_TOKENS + 1)


def test_several_examples_are_each_alone_with_an_xp_block_of_its_own() -> None:
    contexts = [turn(1), turn(2, words=9), turn(3, words=2)]
    found, alone = build(turn(0), contexts), [build_context(one, WORDS, xp_tokens=XP_TOKENS) for one in contexts]
    longest = max(map(len, alone))
    todo = build(turn(0), [contexts[0]])
    todo_ids = todo.ids[len(alone[0]) :].tolist()
    assert [len(one) for one in alone] == [49, 52, 45]
    assert found.ids.tolist() == [*(token for one in alone for token in one.ids), *todo_ids]
    assert found.segment.tolist() == [*(code for one in alone for code in one.segment), *[TD] * len(todo_ids)]
    assert found.example.tolist() == [0] * 49 + [1] * 52 + [2] * 45 + [-1] * len(todo_ids)
    places = [place for one in alone for place in range(len(one))]
    assert found.position.tolist() == [*places, *range(longest, longest + len(todo_ids))]
    assert [str(part.dtype) for part in (found.example, found.position)] == ["int8", "int64"]


def test_with_one_example_or_none_a_token_has_the_position_of_its_index() -> None:
    for found in (document(), document(context=False), build_prompt(text(0), [], WORDS)):
        assert found.position.tolist() == list(range(len(found)))


def test_codes_and_ids_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="the codebook has 256"):
        build(Turn(instruction=text(0), output=picture(0) + 256), [])
    with pytest.raises(ValueError, match="image token 4 in a text"):
        build(Turn(instruction=np.array([4]), output=picture(0)), [])
