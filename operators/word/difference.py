"""Describes the differences of two images, and words the way back, by a vision-language model (paper, C.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from manifests.schema import Direction, Example, Kind, Pair, Reject
from operators.base import Setting
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer
from operators.vlm.showing import one_of, read_json, shown
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

_KEYS = ("differences", "reverse_differences", "subtask", "reverse_prompt")


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("difference", folder, images=2, values=["instruction"])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Adds, of `examples`, those that a pair does not have yet: both describe ones and the reverse generate one.

    One call a pair tells of both directions; a pair that lacks nothing costs none. The sub-task goes into the step.
    Rejects: unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "difference"
    version: ClassVar[int] = 1
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
        return (Request.of(self.prompt, images, instruction=instruction),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "difference needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._completed)

    def _completed(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        if not answers:
            return pair
        (answer,) = answers
        said = read_json(answer, _KEYS)
        subtask = one_of(said["subtask"], SUBTASKS, answer)
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


def _described(direction: Direction, inputs: tuple[str, str], text: str, seed: int) -> Example:
    return Example(
        direction=direction,
        kind="describe",
        inputs=inputs,
        output=None,
        instruction=pick(QUESTIONS, seed, f"{direction} question"),
        text=text,
    )
