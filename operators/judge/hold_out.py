"""Holds out the training examples of novel tasks (paper 4.4), so that a model can be tested on what it never learned.

    derain          generating the clean image from the rainy one
    lowlight        generating the enhanced image, from LOL (lowlight) and MIT-Adobe FiveK (retouch)
    object_edits    UltraEdit and MagicBrush pairs whose instruction adds or removes an object, whole
    depth_palette   nothing: the test draws depth in the palette "unseen" of operators.shared.palettes, which no
    training
                    example uses

The paper removes "generating" those images and says that the reverse stays: so the reverse generate example and both
describe examples are kept. An edit is removed with its describe examples, since "removed from UltraEdit and MagicBrush"
names no part of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import ClassVar

from manifests.schema import Direction, Kind, Pair, Reject, Step
from operators.base import Operator
from operators.judge.edit_classifier import EditClassifier
from operators.judge.edit_rules import RuleClassifier


@dataclass(frozen=True, kw_only=True)
class DropExamples:
    """Removes examples by direction and kind; it belongs after the operators that make them.

    Rejects: held_out, a pair that has no other example.
    """

    name: ClassVar[str] = "hold_out"
    version: ClassVar[int] = 1
    novel_task: str
    examples: tuple[tuple[Direction, Kind], ...]

    @property
    def drops(self) -> tuple[tuple[Direction, Kind], ...]:
        """The examples that no pair is to have."""
        return self.examples

    def __call__(self, pair: Pair, seed: int) -> Pair:
        kept = tuple(example for example in pair.examples if (example.direction, example.kind) not in self.examples)
        dropped = ", ".join(f"{direction} {kind}" for direction, kind in self.examples)
        if not kept:
            raise Reject("held_out", f"{self.novel_task}: nothing is left of it without {dropped}")
        step = Step(
            operator=self.name, version=self.version, params={"novel_task": self.novel_task, "dropped": dropped}
        )
        return replace(pair, examples=kept, steps=(*pair.steps, step))


@dataclass(frozen=True, kw_only=True)
class HoldOutEdits:
    """Rejects pairs whose instruction adds or removes an object; what to call it is the classifier's verdict.

    It reads the source's text "instruction", else that of the forward generate example, and may stand anywhere in the
    chain, best at its start: what is rejected needs no other work. Rejects: held_out; unparsed, where the classifier
    cannot tell, with its raw answer; no_instruction.
    """

    name: ClassVar[str] = "hold_out"
    version: ClassVar[int] = 1
    novel_task: str = "object_edits"
    classifier: EditClassifier = field(default_factory=RuleClassifier)

    def __call__(self, pair: Pair, seed: int) -> Pair:
        try:
            verdict = self.classifier(_instruction(pair))
        except ValueError as error:
            raise Reject("unparsed", str(error)) from None
        if verdict != "other":
            raise Reject("held_out", verdict)
        step = Step(
            operator=self.name,
            version=self.version,
            params={"novel_task": self.novel_task, "verdict": verdict, "classifier": type(self.classifier).__name__},
            model=self.classifier.model,
            prompt=self.classifier.prompt,
        )
        return replace(pair, steps=(*pair.steps, step))


@dataclass(frozen=True, kw_only=True)
class NovelTask:
    """What is removed from training to test one novel task: this operator, from the pairs of these tasks."""

    name: str
    tasks: frozenset[str]
    operator: Operator | None
    evaluation: str
    """What the paper tests it on."""


def _forward(novel_task: str) -> DropExamples:
    return DropExamples(novel_task=novel_task, examples=(("forward", "generate"),))


NOVEL_TASKS = {
    novel_task.name: novel_task
    for novel_task in (
        NovelTask(name="derain", tasks=frozenset(["derain"]), operator=_forward("derain"), evaluation="Rain100H"),
        NovelTask(
            name="lowlight",
            tasks=frozenset(["lowlight", "retouch"]),
            operator=_forward("lowlight"),
            evaluation="LOL-val",
        ),
        NovelTask(
            name="object_edits",
            tasks=frozenset(["ultraedit", "magicbrush"]),
            operator=HoldOutEdits(),
            evaluation="100 InstructPix2Pix edits",
        ),
        NovelTask(name="depth_palette", tasks=frozenset(), operator=None, evaluation="NYU-v2"),
    )
}


def hold_outs(task: str, names: Collection[str], classifier: EditClassifier | None = None) -> tuple[Operator, ...]:
    """The operators to append to a task's chain so that the named novel tasks are held out.

    `classifier` replaces the rules of "object_edits". Raises ValueError for a name that is no novel task.
    """
    if unknown := sorted(set(names) - set(NOVEL_TASKS)):
        raise ValueError(f"no such novel task: {', '.join(unknown)}; there are {', '.join(NOVEL_TASKS)}")
    operators: list[Operator] = []
    for name in sorted(set(names)):
        operator = NOVEL_TASKS[name].operator
        if operator and task in NOVEL_TASKS[name].tasks:
            is_edits = classifier and isinstance(operator, HoldOutEdits)
            operators.append(replace(operator, classifier=classifier) if is_edits else operator)  # type: ignore[type-var]
    return tuple(operators)


def _instruction(pair: Pair) -> str:
    said = pair.texts.get("instruction") or next(
        (
            example.instruction
            for example in pair.examples
            if (example.direction, example.kind) == ("forward", "generate")
        ),
        "",
    )
    if not said.strip():
        raise Reject("no_instruction", "there is no instruction to judge it by")
    return said
