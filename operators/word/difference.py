"""Describes the differences of two images, and words the way back, by a vision-language model (paper, C.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from manifests.schema import Direction, Example, Kind, Pair, Reject
from operators.base import Setting
from operators.vlm.answers import named_in, one_of, one_text, read_parts, unparsed
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request, object_schema
from operators.vlm.responses import Answer
from operators.vlm.showing import shown
from operators.word.describe import QUESTIONS
from operators.word.instruct import pick

SUBTASKS = (
    "Style Transfer",
    "Object Removal",
    "Object Replacement",
    "Object Addition",
    "Object Modification",
    "Season/Time Change",
    "OTHER_SUBTASK",
)
"""The sub-tasks of the paper's appendix C.1."""

_NAMES = {
    "differences": (
        "difference",
        "difference description",
        "description of the differences",
        "differences description",
    ),
    "reverse_differences": ("reverse difference", "reverse difference description"),
    "subtask": ("sub-task", "chosen sub-task", "subtask type", "sub-task type"),
    "reverse_prompt": (
        "reverse editing prompt",
        "reverse edit prompt",
        "reverse editing instruction",
        "reverse edit instruction",
        "reverse instruction",
        "reversed prompt",
        "reversed editing prompt",
    ),
}
"""What an answer says, with what models call it where they choose the words."""

_SCHEMA = object_schema(differences=None, reverse_differences=None, subtask=SUBTASKS, reverse_prompt=None)
_IMAGES = re.compile(r"\b(?P<place>input|first|original|output|second|edited) image\b", re.IGNORECASE)
_FIRST = ("input", "first", "original")  # what models call the input image


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("difference", folder, images=2, values=["instruction"])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Adds, of `examples`, those that a pair does not have yet: both describe ones and the reverse generate one.

    One call a pair tells of both directions; a pair that lacks nothing costs none. The sub-task goes into the step.
    Where an answer describes one direction only, as to the prompt of PROMPTS=paper, the other one's text is those of
    its sentences that name an image, with the names exchanged. Rejects: unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "difference"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 1
    optional: ClassVar[bool] = True
    vlm: Vlm | None = None
    prompt: Prompt = field(default_factory=lambda: _prompt(None))
    examples: tuple[tuple[Direction, Kind], ...] = ()

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        return replace(self, vlm=vlm, prompt=_prompt(prompts))

    def fitted(self, setting: Setting) -> Self | None:
        """Told which examples pairs are to have; not needed where another operator describes both directions."""
        others = {example for link in setting.chain for example in getattr(link, "makes", ())}
        described = not setting.paired and {("forward", "describe"), ("reverse", "describe")} <= others
        return None if described else replace(self, examples=setting.examples)

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        if not self.promised(pair):
            return ()
        instruction = next(example.instruction for example in pair.examples if example.kind == "generate")
        images = shown(pair, "input"), shown(pair, "target")
        return (Request.of(self.prompt, images, schema=_SCHEMA, instruction=instruction),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "difference needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._completed)

    def _completed(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        if not answers:
            return pair
        (answer,) = answers
        said, subtask = _read(answer, self.prompt.text)
        lacking = self.promised(pair)
        made = (
            Example(
                direction="reverse",
                kind="generate",
                inputs=("target",),
                output="input",
                instruction=said["reverse_prompt"],
            ),
            _described("forward", ("input", "target"), said["differences"], seed),
            _described("reverse", ("target", "input"), said["reverse_differences"], seed),
        )
        assert self.vlm
        step = self.vlm.step(self, self.prompt, answer, seed, {"subtask": subtask})
        added = tuple(example for example in made if (example.direction, example.kind) in lacking)
        return replace(pair, examples=(*pair.examples, *added), steps=(*pair.steps, step))

    def promised(self, pair: Pair) -> set[tuple[Direction, Kind]]:
        """The examples that it adds to a pair, if the model answers."""
        has = {(example.direction, example.kind) for example in pair.examples}
        return set(self.examples) - has - {("forward", "generate")}


def _read(answer: Answer, asked: str) -> tuple[dict[str, str], str]:
    """The three texts of an answer by name, and the sub-task. Raises Reject, unparsed."""
    parts = read_parts(answer, _NAMES)
    if "reverse_prompt" not in parts.said:
        raise unparsed(answer)
    differences = parts.said.get("differences") or parts.rest
    if "subtask" in parts.said:
        subtask = one_of(parts.said["subtask"], SUBTASKS, answer)
    else:
        subtask = named_in(differences, SUBTASKS, answer)
        differences = " ".join(one for one in _sentences(differences) if subtask.lower() not in one.lower())
    differences = one_text(differences, answer, asked)
    reverse = parts.said.get("reverse_differences") or _the_other_way_round(differences)
    texts = {
        "differences": differences,
        "reverse_differences": one_text(reverse, answer, asked),
        "reverse_prompt": one_text(parts.said["reverse_prompt"], answer, asked),
    }
    return texts, subtask


def _the_other_way_round(differences: str) -> str:
    """What a description says of the images if the second came first; of what names neither nothing is known."""

    def exchanged(name: re.Match[str]) -> str:
        place = "output" if name["place"].lower() in _FIRST else "input"
        return f"{place.capitalize() if name[0][0].isupper() else place} image"

    sentences = [one for one in _sentences(differences) if _IMAGES.search(one) or "both" in one.lower()]
    named = any(_IMAGES.search(one) for one in sentences)
    return _IMAGES.sub(exchanged, " ".join(sentences)) if named else ""


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+|\n+", text)


def _described(direction: Direction, inputs: tuple[str, str], text: str, seed: int) -> Example:
    return Example(
        direction=direction,
        kind="describe",
        inputs=inputs,
        output=None,
        instruction=pick(QUESTIONS, seed, f"{direction} question"),
        text=text,
    )
