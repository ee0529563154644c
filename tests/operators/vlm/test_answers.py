"""Answers as models give them: what each says was read by a person, and stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from manifests.schema import Reject
from operators.vlm.answers import named_in, one_of, one_text, read_choice, read_parts, read_text, unparsed
from operators.vlm.responses import Answer

YES_NO = ("Yes", "No")
LABELS = ("object_addition", "object_removal", "other")
FROM = ("image 1", "image 2", "both", "neither")
CAPTION = "Image: <image>\nAnswer with exactly one line and nothing else:\nCaption: the description"
FENCE = "```"


def answer_of(text: str) -> Answer:
    return Answer(text=text, model="m", finish_reason="stop", tokens_in=1, tokens_out=1)


def yes_no(text: str) -> tuple[str, str]:
    return read_choice(answer_of(text), YES_NO)


def label(text: str) -> str:
    return read_choice(answer_of(text), LABELS, ("answer", "class", "label", "category"))[0]


def caption(text: str) -> str:
    return read_text(answer_of(text), "caption", ("description", "dense caption"), CAPTION)


def two(text: str) -> dict[str, str]:
    """Two parts, `a` that is also called "alpha part", and `b`."""
    answer = answer_of(text)
    parts = read_parts(answer, {"a": ("alpha part",), "b": ()})
    if len(parts.said) < 2:
        raise unparsed(answer)
    return {name: one_text(value, answer) for name, value in parts.said.items()}


YES_OR_NO = [
    ("Reasoning: They agree.\nAnswer: Yes", "Yes", "They agree."),
    ("Reasoning: the sky: it is blue \n\nAnswer: Yes\n", "Yes", "the sky: it is blue"),
    ("Answer: Yes.", "Yes", ""),
    ("**Answer:** Yes", "Yes", ""),
    ("**Answer**: **No**", "No", ""),
    ("Answer: **No.**", "No", ""),
    ("- **Reasoning:** The cat is gone.\n- **Answer:** No", "No", "The cat is gone."),
    ("### Reasoning\nThe cat is gone.\n\n### Answer\nNo", "No", "The cat is gone."),
    ("1. Reasoning: The cat is gone.\n2. Answer: no", "No", "The cat is gone."),
    ("> Reasoning: They agree.\n> Answer: YES!", "Yes", "They agree."),
    ("Reasoning: They agree. Answer: Yes", "Yes", "They agree."),
    ("Answer: Yes\nReasoning: They agree.", "Yes", "They agree."),
    ("Reasoning: Both show a street.\nThe houses stand where they stood.\n\nAnswer: Yes", "Yes", None),
    ("Answer: Yes, both show a street.", "Yes", "both show a street."),
    ("Final answer: No", "No", ""),
    ("Yes. Because both show the same street.", "Yes", "Because both show the same street."),
    ("Yes, they share the same thick strokes.", "Yes", "they share the same thick strokes."),
    ("Yes they do.", "Yes", "they do."),
    ("No - the boat has become a car.", "No", "the boat has become a car."),
    ("No; the boat has become a car.", "No", None),
    ("**Yes**\n\nBoth are oil paintings.", "Yes", "Both are oil paintings."),
    ("[Yes] Both are oil paintings.", "Yes", "Both are oil paintings."),
    ("Yes", "Yes", ""),
    ("no.", "No", ""),
    ("„Yes“", "Yes", ""),
    ("Answer: „No“", "No", ""),
    ("Answer: « Yes »", "Yes", ""),
    ("Answer：「Yes」。", "Yes", ""),
    ('"Yes"', "Yes", ""),
    ("`No`", "No", ""),
    (f"{FENCE}\nYes\n{FENCE}", "Yes", ""),
    ("Both are watercolours with wet edges. Yes.", "Yes", "Both are watercolours with wet edges."),
    ("The boat has become a car. So the answer is no.", "No", None),
    ("The strokes agree, and so does the palette.\n\nThe answer is: **Yes**", "Yes", None),
    ("Same semantics and basic layout: Yes\nThe house stands on the left in both.", "Yes", None),
    ("Are the semantics and the basic layout of these two images the same? Yes, they are.", "Yes", None),
    ('{"reasoning": "They agree.", "answer": "Yes"}', "Yes", "They agree."),
    (f'{FENCE}json\n{{"reasoning": "The cat is gone.", "answer": "no", "confidence": 0.9}}\n{FENCE}', "No", None),
    ('{"Answer": true, "Reasoning": "They agree."}', "Yes", "They agree."),
    ("<think>Is it a yes? No. The cat is gone.</think>\nAnswer: No", "No", ""),
    ("Reasoning: No differences in layout can be seen.\nAnswer: Yes", "Yes", "No differences in layout can be seen."),
    ("No visible change of layout. Answer: Yes", "Yes", "No visible change of layout."),
    ("Yes, they do not differ.", "Yes", None),
    ("Yes, there are no differences.", "Yes", None),
    ("Yes, they differ only in colour.", "Yes", None),
    ("No. The layout is the same, and the cat is gone.", "No", None),
    ('Sure:\n{"reasoning": "Yes, they agree.", "answer": "Yes"}\nI hope this helps!', "Yes", "Yes, they agree."),
    (
        "Sure! Here is my assessment:\n\nReasoning: They agree.\nAnswer: Yes\n\nLet me know if you need more!",
        "Yes",
        None,
    ),
]


@pytest.mark.parametrize(("text", "says", "why"), YES_OR_NO)
def test_a_clear_yes_or_no_is_read_in_any_form(text: str, says: str, why: str | None) -> None:
    said, reasoning = yes_no(text)
    assert said == says
    assert why is None or reasoning == why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes and no. The layout is kept, the semantics are not.",
        "Yes and no",
        "Answer: Yes/No",
        "[Yes/No]",
        "Are the semantics and the basic layout of these two images the same [Yes/No]?",
        "Answer: Yes or No",
        "Answer: Neither yes nor no",
        "Answer: Maybe",
        "Answer: Probably yes",
        "Answer: Yes, mostly",
        "Answer: Yes (partly)",
        "Yes, but the tree is missing.",
        "Perhaps.",
        "Answer: Yes\nAnswer: No",
        "Yes. Both show a street, but the car is gone. So the answer is no.",
        "Semantics: Yes\nLayout: No",
        "Semantics: Yes\nLayout: Yes\nAnswer: No",
        "Answer: Yes, no",
        "Yes, the layout is the same.\n\nNo.",
        "I'm sorry, but I can't assist with that.",
        "No, I cannot compare these images.",
        "I am unable to see the images. Answer: No",
        "Reasoning: Both images show a street with",
        "Reasoning: They agree.\nAnswer:",
        "<think>Let me compare. Yes.",
        "No brush strokes can be seen in the first image.",
        "Yesterday's light is in both.",
        "Answer: Yes?",
        "Is anything different? No.",
        "Differences in layout: No",
        "Oui",
        '{"reasoning": "They agree."}',
        '{"reasoning": "They agree.", "answer": "Yes", "answer": "No"}',
        "Antwort.\nAnswer: „Ja, Yes“",
        "Yes, the styles are different.",
        "Yes, they differ in colour.",
        "Yes, there are clear differences.",
        "Answer: Yes, they don't have the same layout.",
        "No, they are the same.",
        "No, there are no differences.",
        "Answer: No, both images have the same style.",
        "Answer: No\nReasoning: Yes, they match.",
        "Yes\n\nWait, looking closer: No.",
        "Answer: Yes\n\nActually, no.",
        "Answer: Yes. Correction: No.",
        '{"reasoning": "No, the layout differs entirely.", "answer": "Yes"}',
        '{"answer": "No"}\n{"reasoning": "All agree.", "answer": "Yes"}',
        'Yes, they match.\n{"answer": "No", "reasoning": "The cat is gone."}',
        '{"answer": "No", "reasoning": "The cat is gone."}\nSo the answer is Yes.',
    ],
)
def test_what_is_no_clear_yes_or_no_stays_a_reject_with_the_raw_text(text: str) -> None:
    with pytest.raises(Reject) as caught:
        yes_no(text)
    reason, message = caught.value.reason, caught.value.message
    assert reason == "unparsed" and (message == text if len(text) <= 4_000 else message.startswith(text[:3_900]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("object_addition", "object_addition"),
        ("object_removal.", "object_removal"),
        ("**object_addition**", "object_addition"),
        ("`other`", "other"),
        ("Object Removal", "object_removal"),
        ("object-addition", "object_addition"),
        ("Answer: other", "other"),
        ("Answer: object_addition\n", "object_addition"),
        ('"object_removal"', "object_removal"),
        ("„other“", "other"),
        ("object_addition - the other cat gets a hat", "object_addition"),
        ("The answer is object_removal.", "object_removal"),
        ("Other. It changes the light only.", "other"),
        ('{"class": "object_addition"}', "object_addition"),
        (f"{FENCE}\nobject_removal\n{FENCE}", "object_removal"),
    ],
)
def test_the_class_of_an_edit_is_read_in_any_form(text: str, says: str) -> None:
    assert label(text) == says


@pytest.mark.parametrize(
    "text",
    [
        "object_addition or object_removal",
        "object_addition, object_removal",
        "object_addition\nobject_removal",
        "object_addition / other",
        "The hat goes to the other cat.",
        "object",
        "addition",
        "I'm sorry, I cannot help with that.",
        "Answer: object_add",
    ],
)
def test_what_names_no_class_or_two_is_a_reject(text: str) -> None:
    with pytest.raises(Reject) as caught:
        label(text)
    reason, message = caught.value.reason, caught.value.message
    assert reason == "unparsed" and (message == text if len(text) <= 4_000 else message.startswith(text[:3_900]))


TWO = {"a": "x y", "b": "z"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "x y", "b": "z"}',
        '\n{"b":"z","a":"x y"} ',
        f'{FENCE}json\n{{"a": " x\\ny", "b": "z"}}\n{FENCE}',
        f'{FENCE}\n{{"a": "x y", "b": "z"}}\n{FENCE}',
        f'Here is the JSON:\n{FENCE}json\n{{"a": "x y", "b": "z"}}\n{FENCE}\nHope this helps!',
        '{"a": "x y", "b": "z", "c": "further"}',
        '{"a": "x y", "b": "z", "c": {"d": 1}, "e": null}',
        '{"A": "x y", "B": "z"}',
        '{"alpha_part": "x y", "b": "z"}',
        '{"a": "x y", "b": "z",}',
        '{"a": ["x", "y"], "b": "z"}',
        '{"result": {"a": "x y", "b": "z"}}',
        "{„a“: „x y“, „b“: „z“}",
        "{“a”: “x y”, “b”: “z”}",
        "{« a »: « x y », « b »: « z »}",
        "{「a」: 「x y」, 「b」: 「z」}",
        '{"a": "„x y“", "b": "“z”"}',
        '{"a": "x\ny", "b": "z"}',
        "a: x y\nb: z",
        "**A:** x y\n**B:** z",
        "- a: x y\n- b: z",
        "Alpha part: x y\n\nb: z",
        "## Alpha part\nx y\n## B\nz",
        "b：「z」\na：「x y」",
        "a: x\ny\nb: z",
    ],
)
def test_parts_are_read_from_json_and_from_labels(text: str) -> None:
    assert two(text) == TWO


@pytest.mark.parametrize("text", ['{"a": "say „hi“ to him", "b": "z"}', "a: say „hi“ to him\nb: z"])
def test_quotation_marks_within_a_text_stay(text: str) -> None:
    assert two(text) == {"a": "say „hi“ to him", "b": "z"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        '{"a": "x", "b": ',
        '{"a": "x"}',
        '{"a": "x", "b": 3.5}',
        '{"a": "x", "b": null}',
        '{"a": "x", "a": "other", "b": "z"}',
        '{"a": "x", "b": "z"} or rather {"a": "y", "b": "z"}',
        '{"a": "x"} or rather {"a": "y", "b": "z"}',
        '["a", "b"]',
        "[" * 100_000,
        '{"a":' * 3_000,
        FENCE,
        "a: x\na: y\nb: z",
        '{"a": "x", "b": ""}',
        '{"a": "x", "b": "\\u0000"}',
        '{"a": "x", "b": "..."}',
        '{"a": "x", "b": "<text>"}',
        '{"a": "x", "b": "the hat is on the"...}',
        '{"a": "x", "b": "The hat is on the..."}',
        '{"a": "x", "b": "I cannot see the image."}',
        '{"a": "x", "b": "N/A"}',
        '{"a": "x", "b": "' + "y" * 5_000 + '"}',
    ],
)
def test_what_lacks_a_part_or_has_two_of_it_is_a_reject_with_the_raw_text(text: str) -> None:
    with pytest.raises(Reject) as caught:
        two(text)
    reason, message = caught.value.reason, caught.value.message
    assert reason == "unparsed" and (message == text if len(text) <= 4_000 else message.startswith(text[:3_900]))


CAT = "A grey cat sits left of a red ball."


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"Caption: {CAT}", CAT),
        (f"caption: {CAT}\n", CAT),
        (f"**Caption:** {CAT}", CAT),
        (f"**Caption**\n{CAT}", CAT),
        (f"Caption: {CAT}\n\nBehind it is a window.", f"{CAT} Behind it is a window."),
        (f"Caption:\n\n{CAT}\n\nBehind it is a window.", f"{CAT} Behind it is a window."),
        (f"Sure! Here it is:\nCaption: {CAT}", CAT),
        (f"Caption: {CAT}\n\nLet me know if you would like it longer!", CAT),
        (f"Caption: {CAT} I hope this helps!", CAT),
        (f'Caption: "{CAT}"', CAT),
        (f"Caption: „{CAT}“", CAT),
        (f"Caption: »{CAT}«", CAT),
        (f"Caption: « {CAT} »", CAT),
        ("Caption：「一只灰猫坐在红球左边。」", "一只灰猫坐在红球左边。"),
        ("一只灰猫坐在红球左边。", "一只灰猫坐在红球左边。"),
        (f"{FENCE}text\nCaption: {CAT}\n{FENCE}", CAT),
        (f'{{"caption": "{CAT}"}}', CAT),
        (f'{{"caption": "{CAT}", "language": "en"}}', CAT),
        (CAT, CAT),
        (f"Certainly! {CAT}", CAT),
        ("Caption: Of course the cat sleeps.", "Of course the cat sleeps."),
        ("Here's looking at you: two cats.", "Here's looking at you: two cats."),
        (f"Here is a dense description of the image:\n\n{CAT}", CAT),
        ("Caption: A *grey* cat beside 2 * 3 balls.", "A grey cat beside 2 * 3 balls."),
        ("Caption: A sign says “I cannot wait”.", "A sign says “I cannot wait”."),
    ],
)
def test_a_caption_is_read_in_any_form(text: str, says: str) -> None:
    assert caption(text) == says


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Caption:",
        "Caption: the description",
        "Caption: [description]",
        "Caption: I'm sorry, I can't describe this image.",
        "I'm sorry, but I can't help with identifying people.",
        "Unfortunately, I am unable to see the image.",
        "As an AI, I have no eyes.",
        "Caption: None",
        "A cat",
        "Caption: A grey cat sits left of a ...",
        f"Caption: {CAT}\nCaption: A dog.",
        "Caption: \x07 a bell",
    ],
)
def test_what_is_no_caption_is_a_reject_with_the_raw_text(text: str) -> None:
    with pytest.raises(Reject) as caught:
        caption(text)
    reason, message = caught.value.reason, caught.value.message
    assert reason == "unparsed" and (message == text if len(text) <= 4_000 else message.startswith(text[:3_900]))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("image 1", "image 1"),
        ("Image 1.", "image 1"),
        ("image_2", "image 2"),
        ("Both", "both"),
        ("„neither“", "neither"),
        ("image 1 (the cat's place)", "image 1"),
    ],
)
def test_one_of_some_is_read_in_any_form(value: str, says: str) -> None:
    assert one_of(value, FROM, answer_of("said")) == says


@pytest.mark.parametrize("value", ["", "image 3", "image 1 and image 2", "image 1, image 2", "mostly both", "image 12"])
def test_one_that_is_not_offered_and_two_at_once_are_rejects(value: str) -> None:
    with pytest.raises(Reject) as caught:
        one_of(value, FROM, answer_of("said"))
    assert (caught.value.reason, caught.value.message) == ("unparsed", "said")


def test_the_one_that_a_text_names() -> None:
    answer = answer_of("said")
    assert named_in("It is an Object Addition.", ("Object Addition", "Object Removal"), answer) == "Object Addition"
    for text in ("It is an edit.", "Either Object Addition or Object Removal.", "An Object Additional."):
        with pytest.raises(Reject, match="said"):
            named_in(text, ("Object Addition", "Object Removal"), answer)


def test_an_endless_answer_is_no_work() -> None:
    """Patterns that go back over a text again and again would take hours for this one."""
    for make in (
        "Answer: " * 2_400,
        "(" * 19_999,
        "yes " * 4_900,
        '"' * 19_999,
        "*_" * 9_999,
        "here is " * 2_400,
        "wait " * 3_999,
    ):
        read: list[Callable[[str], Any]] = [yes_no, label, caption, two]
        for one in read:
            try:
                one(make)
            except Reject:
                continue
