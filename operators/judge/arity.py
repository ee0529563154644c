"""Checks that the instruction of an example speaks of as many images as the example shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from manifests.schema import Example, Pair, Reject, Step
from operators.read.columns import MOST_INPUTS

_PICTURE = r"(?:images?|pictures?|photos?|photographs?)"
_AMOUNT = (
    r"(?:[%°x]|(?:percent|degrees?|times|fold|by|px|pixels?|points?|stops?|shades?|steps?|levels?|inch|inches|cm|mm"
    r"|years?|months?|weeks?|days?|hours?|minutes?|seconds?)\b)"
)
"""What makes a number behind "the image" an amount of something: "rotate the image 90 degrees"."""
_NUMBERED = re.compile(rf"\b{_PICTURE}\s*#?\s*(\d+)\b(?![.,:/]\d)(?!\s*-?{_AMOUNT})", re.IGNORECASE)
_PLACEHOLDER = re.compile(rf"<\s*{_PICTURE}\s*#?\s*(\d+)\s*>", re.IGNORECASE)
_THERE = (
    r"(?!\s+(?:(?:on|in|at)\s+\w+\s+(?:walls?|shelf|shelves|screens?|monitors?|billboards?|fridge|frames?)"
    r"|from\s+(?:the\s+)?(?:far\s+)?(?:left|right|top|bottom)|(?:above|below|beneath|behind|under|over|near|beside)"
    r"|hanging|hung|framed|frames?|albums?)\b)"
)
"""Not followed by where in a scene pictures are: "the two photos on the wall" are things in it."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_ORDINAL = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+((?:input\s+)?{_PICTURE})\b{_THERE}", re.IGNORECASE)
_COUNTS = {"both": 2, "two": 2, "three": 3, "four": 4, "five": 5}
_COUNTED = re.compile(
    rf"\b(?:(?:the|these|those)\s+(two|three|four|five)|(both))\s+((?:input\s+)?{_PICTURE})\b{_THERE}",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Arity:
    """Rejects a pair of which an example's instruction does not fit its inputs; it belongs behind what words them.

    An example has every image that it names as an input. Its instruction may name no image beyond them ("image 3",
    "the third image"), counts as many as there are if it counts ("the two images"), and where it names images by
    placeholders ("<image 1>"), it names each of them.

    Words alone may speak of what the scene shows, so what is not sure is kept. Pictures that are somewhere ("the two
    photos on the wall", "the third image from the left") are no inputs, and numbers of degrees, per cent or years, or
    above the most inputs that a pair may have, number none. Where there is one input, photos and pictures that are
    ordered or counted are things in it, unless they are called images or inputs. Rejects: missing_input, other_arity.
    """

    name: ClassVar[str] = "arity"
    version: ClassVar[int] = 2

    def __call__(self, pair: Pair, seed: int) -> Pair:
        for example in pair.examples:
            if absent := [role for role in example.inputs if not pair.image(role)]:
                raise Reject("missing_input", f"an example has {', '.join(absent)} as input, and the pair has none")
            if fault := misfit(example.instruction, len(example.inputs)):
                raise Reject("other_arity", f"{fault}: {_said(example)}", pair.scores)
        return replace(pair, steps=(*pair.steps, Step(operator=self.name, version=self.version)))


def misfit(instruction: str, images: int) -> str | None:
    """What is wrong with an instruction that goes with so many input images, or None."""
    numbered = {number for number in map(int, _NUMBERED.findall(instruction)) if number <= MOST_INPUTS}
    ordered = [word for word, noun in _ORDINAL.findall(instruction) if _is_of_inputs(noun, images)]
    ordinals = {_ORDINALS.index(word.lower()) + 1 for word in ordered}
    if beyond := sorted(number for number in numbered | ordinals if not 1 <= number <= images):
        return f"image {beyond[0]} is named, and the inputs are {images}"
    counted = [
        (one or both).lower() for one, both, noun in _COUNTED.findall(instruction) if _is_of_inputs(noun, images)
    ]
    if other := [word for word in counted if _COUNTS[word] != images]:
        return f"{other[0]} images are named, and the inputs are {images}"
    placeholders = {int(number) for number in _PLACEHOLDER.findall(instruction)}
    if unnamed := sorted(set(range(1, images + 1)) - placeholders) if placeholders else []:
        return f"image {unnamed[0]} of {images} has no placeholder"
    return None


def _is_of_inputs(noun: str, images: int) -> bool:
    """Whether what is ordered or counted by words are inputs, of which there are so many."""
    return images > 1 or noun.lower().startswith(("image", "input"))


def _said(example: Example, most: int = 200) -> str:
    """An example's instruction as a message quotes it."""
    return example.instruction if len(example.instruction) <= most else f"{example.instruction[:most]} ..."
