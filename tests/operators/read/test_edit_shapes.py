from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from operators.judge.arity import misfit
from operators.read.edit_shapes import (
    Conversation,
    EditsInList,
    NumberedTurns,
    OneEdit,
    Part,
    PicoBananaTurns,
    SideBySide,
    Told,
    naming_images,
)

_ROW = OneEdit(
    inputs=("before",),
    optional=("reference",),
    target="after",
    texts=(("instruction", "words"),),
    params=(("edit_type", "about.kind"), ("valid", "about.valid")),
    scores=("score",),
    losers="lost",
)
_TURNS = NumberedTurns(first="first", image="image_", instruction="words_")


@pytest.mark.parametrize(
    ("row", "inputs", "target"),
    [
        ({"before": b"1", "after": b"2"}, [b"1"], b"2"),
        ({"before": ["1", "2"], "after": ["3"]}, ["1", "2"], "3"),
        ({"before": ["1"], "reference": {"bytes": b"r"}, "after": "3"}, ["1", {"bytes": b"r"}], "3"),
        ({"before": "1", "reference": {"bytes": None, "path": None}, "after": "3"}, ["1"], "3"),
        ({"before": "1", "reference": "None", "after": "3"}, ["1"], "3"),  # as AnyEdit's README writes a null
        ({"before": None, "after": "3"}, [], "3"),
        ({"before": [], "after": []}, [], None),
    ],
)  # fmt: skip
def test_images_of_a_row(row: Mapping[str, Any], inputs: list[Any], target: Any) -> None:
    (told,) = _ROW.told(row)
    assert (list(told.inputs), told.target) == (inputs, target)


def test_two_targets_are_no_edit() -> None:
    assert _ROW.told({"before": "1", "after": ["2", "3"]}) == ()


def test_words_marks_and_scores_of_a_row() -> None:
    row = {
        "before": "1",
        "after": "2",
        "words": [None, "", "make it red", "let it be red"],
        "about": {"kind": 7, "valid": False, "rest": 1},
        "score": "8.5",
        "lost": ["3", "4"],
    }
    (told,) = _ROW.told(row)
    assert told.texts == {"instruction": "make it red"}
    assert told.params == {"edit_type": "7", "valid": False}
    assert told.scores == {"score": 8.5}
    assert told.losers == ["3", "4"]
    assert set(_ROW.needs) == {"before", "reference", "after", "words", "about.kind", "about.valid", "score", "lost"}


def test_turns_by_number_end_at_the_first_that_is_not_there() -> None:
    row = {
        "first": "0",
        "image_1": "1",
        "words_1": "a",
        "image_2": "2",
        "image_3": None,
        "words_3": "c",
        "image_4": "4",
    }
    assert _turns(_TURNS.told(row)) == [("0", "1", "a"), ("1", "2", None)]
    assert _TURNS.told({"first": "0"}) == []
    assert len(_TURNS.told({"first": "0"} | {f"image_{turn}": str(turn) for turn in range(1, 13)})) == 12


def test_turns_in_a_list_are_told_if_all_of_them_are() -> None:
    shape = EditsInList(column="data", edit=OneEdit(inputs=("a",), target="b", texts=(("instruction", "c"),)))
    turns = [{"a": "1", "b": "2", "c": "x"}, {"a": "9", "b": "3", "c": "y"}]
    assert _turns(shape.told({"data": turns})) == [("1", "2", "x"), ("9", "3", "y")]
    assert shape.told({"data": [turns[0], "no turn"]}) == ()
    assert shape.told({"data": []}) == [] and shape.told({}) == []


def test_the_last_turn_of_pico_banana_is_its_final_image() -> None:
    files = [{"id": "edit_turn1", "url": "1"}, {"id": "final_image", "url": "3"}, {"id": "edit_turn2", "url": "2"}, 7]
    shape = PicoBananaTurns()
    row = {"files": files, "metadata_edit_turn_prompts": ["a", "b", "c"], "local_input_image": "0"}
    assert _turns(shape.told(row)) == [("0", "1", "a"), ("1", "2", "b"), ("2", "3", "c")]
    lacking = {**row, "files": [files[0], files[1]]}
    assert _turns(shape.told(lacking)) == [("0", "1", "a"), ("1", None, "b"), (None, "3", "c")]


@pytest.mark.parametrize(
    ("images", "talk", "words"),
    [
        (["i.png", "o.png"], [{"from": "human", "value": "<image>\nadd a hat"}, {"from": "gpt"}], "add a hat"),
        (["i.png"], [{"from": "human", "value": "add a hat"}], None),
        (["i.png", "o.png"], [{"from": "gpt", "value": "x"}], None),
        (["i.png", "o.png"], [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}], None),
        ("i.png", "add a hat", None),
    ],
)  # fmt: skip
def test_a_conversation_of_one_request_is_an_edit(images: Any, talk: Any, words: str | None) -> None:
    told = Conversation().told({"image": images, "conversations": talk})
    assert [one.texts for one in told] == ([] if words is None else [{"instruction": words}])


def test_two_images_in_one_are_where_ominicontrol_cuts_them_out() -> None:
    """The boxes that its loader takes with image_size 512 and padding 8, by hand from train_subject.py."""
    shape = SideBySide(image="image", side_px=512, padding_px=8, left="d.zero", right="d.one")
    (told,) = shape.told({"image": b"whole", "d": {"zero": "in a loft", "one": "in a cabin"}})
    assert told.inputs == (Part(whole=b"whole", box_px=(8, 8, 520, 520), size_px=(1056, 528)),)
    assert told.target == Part(whole=b"whole", box_px=(528, 8, 1040, 520), size_px=(1056, 528))
    assert told.texts == {"instruction": "in a cabin", "reverse": "in a loft"}
    (without,) = shape.told({"image": None, "d": None})
    assert (without.inputs, without.target, without.texts) == ((None,), None, {})


@pytest.mark.parametrize(
    ("said", "images", "ours"),
    [
        ("<img><|image_1|></img> wears <img><|image_2|></img>.", 2, "<image 1> wears <image 2>."),
        ("Find lamps in <img> <|image_1|> </img>.", 1, "Find lamps in <image 1>."),
        ("Replace the elephants to [v*]", 2, "Replace the elephants to image 2"),
        ("Write [v*] on the wall", 1, "Write [v*] on the wall"),
    ],
)
def test_instructions_name_their_images_as_ours_do(said: str, images: int, ours: str) -> None:
    assert naming_images(said, images) == ours
    assert misfit(ours, images) is None


def _turns(told: Any) -> list[tuple[Any, Any, str | None]]:
    assert all(isinstance(one, Told) and len(one.inputs) == 1 for one in told)
    return [(one.inputs[0], one.target, one.texts.get("instruction")) for one in told]
