from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from manifests.schema import Pair, Step
from operators.degrade.rain import Rain
from operators.word.describe import QUESTIONS, Describe
from pipelines.tasks.phrasings import DESCRIBE_ADD_RAIN, DESCRIBE_DERAIN
from tests.sources import lossless, pair_of, photo

DESCRIBE = Describe(degrade=Rain(), forward=DESCRIBE_DERAIN, reverse=DESCRIBE_ADD_RAIN)

MIDDLE = {"density": 0.006, "angle_deg": 12.4, "length_px": 30, "opacity": 0.75}


def test_middle_values_in_words_and_numbers() -> None:
    assert Rain.in_words(MIDDLE) == (
        "moderately dense, medium-long rain streaks of about 30 pixels, "
        "leaning about 12° from the vertical towards the lower right, clearly visible at 75% opacity"
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("density", 0.0020, "sparse, medium-long"),
        ("density", 0.0044, "sparse, medium-long"),
        ("density", 0.0045, "moderately dense, medium-long"),
        ("density", 0.0084, "moderately dense, medium-long"),
        ("density", 0.0085, "dense, medium-long"),
        ("density", 0.0120, "dense, medium-long"),
        ("length_px", 12, ", short rain streaks of about 12 pixels"),
        ("length_px", 21, ", short rain streaks of about 21 pixels"),
        ("length_px", 22, ", medium-long rain streaks of about 22 pixels"),
        ("length_px", 36, ", long rain streaks of about 36 pixels"),
        ("opacity", 0.55, "faint at 55% opacity"),
        ("opacity", 0.68, "clearly visible at 68% opacity"),
        ("opacity", 0.82, "strong at 82% opacity"),
        ("opacity", 0.946, "strong at 95% opacity"),
        ("angle_deg", 0.0, "falling almost vertically"),
        ("angle_deg", 2.4, "falling almost vertically"),
        ("angle_deg", -2.4, "falling almost vertically"),
        ("angle_deg", 2.6, "leaning about 3° from the vertical towards the lower right"),
        ("angle_deg", -2.6, "leaning about 3° from the vertical towards the lower left"),
        ("angle_deg", -29.8, "leaning about 30° from the vertical towards the lower left"),
    ],
)
def test_each_grade_begins_where_it_says(name: str, value: float, words: str) -> None:
    text = Rain.in_words({**MIDDLE, name: value})
    # "dense" is also the end of "moderately dense": compared from the start of the text.
    assert text.startswith(words) if name == "density" else words in text


def test_both_directions_are_described_with_the_recorded_streaks() -> None:
    pair = DESCRIBE(_rainy(MIDDLE), 3)
    forward, reverse = pair.examples
    assert (forward.direction, forward.kind, forward.inputs) == ("forward", "describe", ("input", "target"))
    assert (reverse.direction, reverse.kind, reverse.inputs) == ("reverse", "describe", ("target", "input"))
    for example, templates in ((forward, DESCRIBE_DERAIN), (reverse, DESCRIBE_ADD_RAIN)):
        assert example.output is None
        assert example.instruction in QUESTIONS
        assert example.text in {template.format(what=Rain.in_words(MIDDLE)) for template in templates}
    assert DESCRIBE(_rainy(MIDDLE), 3) == pair


def test_every_template_and_question_is_used_in_its_own_direction() -> None:
    pairs = [DESCRIBE(_rainy(MIDDLE), seed) for seed in range(200)]
    streaks = Rain.in_words(MIDDLE)
    for position, templates in enumerate((DESCRIBE_DERAIN, DESCRIBE_ADD_RAIN)):
        made = [pair.examples[position] for pair in pairs]
        assert {example.text for example in made} == {template.format(what=streaks) for template in templates}
        assert {example.instruction for example in made} == set(QUESTIONS)


def test_texts_read_as_sentences_and_say_which_way_it_went() -> None:
    for template in (*DESCRIBE_DERAIN, *DESCRIBE_ADD_RAIN):
        text = template.format(what=Rain.in_words(MIDDLE))
        assert text[0].isupper() and text.endswith(".") and "{" not in text
    assert not set(DESCRIBE_DERAIN) & set(DESCRIBE_ADD_RAIN)


def test_it_tells_of_what_the_rain_operator_records() -> None:
    pair = Rain()(pair_of(lossless("target", photo(0))), 11)
    step = pair.step("rain")
    assert step
    text = DESCRIBE(pair, 0).examples[0].text
    assert text and Rain.in_words(step.params) in text


def _rainy(params: dict[str, Any]) -> Pair:
    return replace(pair_of(), steps=(Step(operator="rain", version=1, params=params),))
