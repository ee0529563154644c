"""Describe examples of synthesised pairs: text composed from the parameters they were made with (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from manifests.schema import Direction, Example, Kind, Pair, Step
from operators.base import OnlyUnpaired, Operator
from operators.word.instruct import pick

# The paper's C.1 asks for the differences of an "input image" and an "output image"; the phrasings are ours.
QUESTIONS = (
    "Describe the differences between the input image and the output image.",
    "What changed from the input image to the output image?",
    "Compare the two images and say what was done to the first to get the second.",
    "Explain how the output image differs from the input image.",
    "Which transformation turns the input image into the output image?",
    "State what the output image adds to or removes from the input image.",
)


class Degradation(Operator, Protocol):
    """An operator that can say what it did."""

    def in_words(self, params: Mapping[str, Any]) -> str:
        """The recorded parameters as a noun phrase, truthful in words and numbers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Describe(OnlyUnpaired):
    """Adds the two describe examples of a pair whose input was synthesised. The text says only what is recorded."""

    name: ClassVar[str] = "describe"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[tuple[Direction, Kind], ...]] = (("forward", "describe"), ("reverse", "describe"))
    degrade: Degradation
    forward: tuple[str, ...]
    """Templates for undoing the degradation, with {what} in the place of its words."""
    reverse: tuple[str, ...]
    """Templates for applying it."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        made = pair.step(self.degrade.name)
        assert made, f"describe follows {self.degrade.name}"
        what = self.degrade.in_words(made.params)
        examples = (
            _example("forward", ("input", "target"), pick(self.forward, seed, "forward text"), what, seed),
            _example("reverse", ("target", "input"), pick(self.reverse, seed, "reverse text"), what, seed),
        )
        step = Step(operator=self.name, version=self.version, seed=seed)
        return replace(pair, examples=(*pair.examples, *examples), steps=(*pair.steps, step))


def _example(direction: Direction, inputs: tuple[str, str], template: str, what: str, seed: int) -> Example:
    text = template.format(what=what)
    return Example(
        direction=direction,
        kind="describe",
        inputs=inputs,
        output=None,
        instruction=pick(QUESTIONS, seed, f"{direction} question"),
        text=text[0].upper() + text[1:],
    )
