"""Checks that the instruction of an example speaks of as many images as the example shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from manifests.schema import Example, Pair, Reject, Step

_PICTURE = r"(?:images?|pictures?|photos?|photographs?)"
_NUMBERED = re.compile(rf"\b{_PICTURE}\s*#?\s*(\d+)\b", re.IGNORECASE)
_PLACEHOLDER = re.compile(rf"<\s*{_PICTURE}\s*#?\s*(\d+)\s*>", re.IGNORECASE)
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_ORDINAL = re.compile(rf"\b({'|'.join(_ORDINALS)})\s+(?:one|{_PICTURE})\b", re.IGNORECASE)
_COUNTS = {"both": 2, "two": 2, "three": 3, "four": 4, "five": 5}
_COUNTED = re.compile(
    rf"\b(?:(?:the|these|those)\s+(two|three|four|five)|(both))\s+(?:input\s+)?{_PICTURE}\b", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class Arity:
    """Rejects a pair of which an example's instruction does not fit its inputs; it belongs behind what words them.

    An example has every image that it names as an input. Its instruction may name no image beyond them ("image 3",
    "the third image"), counts as many as there are if it counts ("the two images"), and where it names images by
    placeholders ("<image 1>"), it names each of them. Rejects: missing_input, other_arity.
    """

    name: ClassVar[str] = "arity"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        for example in pair.examples:
            if absent := [role for role in example.inputs if not pair.image(role)]:
                raise Reject("missing_input", f"an example has {', '.join(absent)} as input, and the pair has none")
            if fault := misfit(example.instruction, len(example.inputs)):
                raise Reject("other_arity", f"{fault}: {_said(example)}", pair.scores)
        return replace(pair, steps=(*pair.steps, Step(operator=self.name, version=self.version)))


def misfit(instruction: str, images: int) -> str | None:
    """What is wrong with an instruction that goes with so many input images, or None."""
    numbered = {int(number) for number in _NUMBERED.findall(instruction)}
    ordinals = {_ORDINALS.index(word.lower()) + 1 for word in _ORDINAL.findall(instruction)}
    if beyond := sorted(number for number in numbered | ordinals if not 1 <= number <= images):
        return f"image {beyond[0]} is named, and the inputs are {images}"
    counts = ["".join(groups).lower() for groups in _COUNTED.findall(instruction)]
    if other := [word for word in counts if _COUNTS[word] != images]:
        return f"{other[0]} images are named, and the inputs are {images}"
    placeholders = {int(number) for number in _PLACEHOLDER.findall(instruction)}
    if unnamed := sorted(set(range(1, images + 1)) - placeholders) if placeholders else []:
        return f"image {unnamed[0]} of {images} has no placeholder"
    return None


def _said(example: Example, most: int = 200) -> str:
    """An example's instruction as a message quotes it."""
    return example.instruction if len(example.instruction) <= most else f"{example.instruction[:most]} ..."
