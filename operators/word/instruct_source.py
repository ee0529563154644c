"""Generate examples from what the source itself says: edit instructions and captions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from manifests.schema import MASK, Example, Pair, Reject, Step
from operators.word.instruct import pick

_CAPTION_QUESTIONS = (
    "Describe this image.",
    "What does this image show?",
    "Write a caption for this image.",
    "Say in words what can be seen here.",
    "Give a description from which this image could be painted.",
)


@dataclass(frozen=True, kw_only=True)
class EditInstruction:
    """The forward generate example of an edit pair, in the words of its source. Rejects: no_instruction.

    The way back needs words of its own ("remove the hat" for "add a hat"); a vision-language model writes them.
    """

    name: ClassVar[str] = "edit_instruction"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        forward = Example(
            direction="forward",
            kind="generate",
            inputs=("input",),
            output="target",
            instruction=_said(pair, "instruction"),
        )
        step = Step(operator=self.name, version=self.version)
        return replace(pair, examples=(*pair.examples, forward), steps=(*pair.steps, step))


@dataclass(frozen=True, kw_only=True)
class GivenWords:
    """The examples that a pair's own words make, of as many inputs as it has. Rejects: no_instruction.

    The text "instruction" makes the forward generate example, from all inputs in order; "reverse" the reverse one, from
    the target to the first input; "caption" a describe example of the target. The latter two are not missed.
    """

    name: ClassVar[str] = "given_words"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        inputs = tuple(image.role for image in pair.images if image.role not in _NO_INPUTS)
        examples = [
            Example(
                direction="forward",
                kind="generate",
                inputs=inputs,
                output="target",
                instruction=_said(pair, "instruction"),
            )
        ]
        if pair.texts.get("reverse"):
            examples.append(
                Example(
                    direction="reverse",
                    kind="generate",
                    inputs=("target",),
                    output=inputs[0],
                    instruction=_said(pair, "reverse"),
                )
            )
        if pair.texts.get("caption"):
            examples.append(
                Example(
                    direction="forward",
                    kind="describe",
                    inputs=("target",),
                    output=None,
                    instruction=pick(_CAPTION_QUESTIONS, seed, "question"),
                    text=_said(pair, "caption"),
                )
            )
        step = Step(operator=self.name, version=self.version, seed=seed)
        return replace(pair, examples=(*pair.examples, *examples), steps=(*pair.steps, step))


_NO_INPUTS = ("target", MASK)
"""Roles of images that are no inputs of an example: what is made, and where it differs."""


@dataclass(frozen=True, kw_only=True)
class FromWords:
    """The forward generate example of an image that is made of the text "instruction" alone. Rejects: no_instruction.

    What the words leave open is in an in-context example: a pose, say, and two other persons who have it.
    """

    name: ClassVar[str] = "from_words"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        forward = Example(
            direction="forward", kind="generate", inputs=(), output="target", instruction=_said(pair, "instruction")
        )
        step = Step(operator=self.name, version=self.version)
        return replace(pair, examples=(*pair.examples, forward), steps=(*pair.steps, step))


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The two examples of a captioned image: make it from its caption, caption it. Rejects: no_caption."""

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        caption = _said(pair, "caption")
        examples = (
            Example(direction="forward", kind="generate", inputs=(), output="target", instruction=caption),
            Example(
                direction="forward",
                kind="describe",
                inputs=("target",),
                output=None,
                instruction=pick(_CAPTION_QUESTIONS, seed, "question"),
                text=caption,
            ),
        )
        step = Step(operator=self.name, version=self.version, seed=seed)
        return replace(pair, examples=(*pair.examples, *examples), steps=(*pair.steps, step))


def _said(pair: Pair, what: str) -> str:
    text = " ".join(pair.texts.get(what, "").split())
    if not text:
        raise Reject(f"no_{what}", f"the source has no {what} for it")
    return text
