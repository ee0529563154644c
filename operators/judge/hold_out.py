"""Holds out the training examples of novel tasks (paper 4.4), so that a model can be tested on what it never learned.

    derain          generating the clean image from the rainy one
    lowlight        generating the enhanced image, from LOL (lowlight) and MIT-Adobe FiveK (retouch)
    object_edits    UltraEdit and MagicBrush pairs whose instruction adds or removes an object, whole

The paper's fourth novel task, depth in a palette never seen, needs no hold-out: no training data is drawn in that
palette (operators.shared.palettes), and its test set is made with `--palette unseen`.

The paper removes "generating" those images and says that the reverse stays: so the reverse generate example and both
describe examples are kept. An edit is removed with its describe examples, since "removed from UltraEdit and MagicBrush"
names no part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from manifests.schema import Direction, Kind, Pair, Reject, Step
from operators.base import Link
from operators.batching import each_pair
from operators.judge.edit_classifier import LABELS
from operators.judge.edit_rules import RuleClassifier
from operators.shared.palettes import UNSEEN_PALETTE
from operators.vlm.answers import read_choice
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer

EDITS = "object_edits"
"""The novel task whose edits are judged one by one."""

EditJudge = Literal["rules", "vlm"]
"""Who says whether an instruction adds or removes an object."""

HELD_OUT = "held_out"
"""The reason of a reject that a hold-out makes."""


@dataclass(frozen=True, kw_only=True)
class DropExamples:
    """Removes examples by direction and kind; it belongs after the operators that make them.

    Rejects: held_out, a pair that has no other example.
    """

    name: ClassVar[str] = "hold_out_examples"
    version: ClassVar[int] = 2
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
            raise Reject(HELD_OUT, f"{self.novel_task}: nothing is left of it without {dropped}")
        step = Step(
            operator=self.name, version=self.version, params={"novel_task": self.novel_task, "dropped": dropped}
        )
        return replace(pair, examples=kept, steps=(*pair.steps, step))


_SCHEMA = {"type": "string", "enum": [*LABELS]}
_CALLED = ("answer", "final answer", "class", "label", "category", "edit class", "type")


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("edit_class", folder, images=0, values=["instruction"])


@dataclass(frozen=True, kw_only=True)
class HoldOutEdits:
    """Rejects pairs whose instruction adds or removes an object, as rules or a vision-language model judge it.

    It reads the source's text "instruction", else that of the forward generate example, and may stand anywhere in the
    chain, best at its start: what is rejected needs no other work. The model is shown the instruction alone, as the
    paper's Llama-3 was. Rejects: held_out; no_instruction; and by a model: unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "hold_out_edits"
    version: ClassVar[int] = 3
    batch_size: ClassVar[int] = 64
    novel_task: str = EDITS
    by: EditJudge = "rules"
    rules: RuleClassifier = field(default_factory=RuleClassifier)
    vlm: Vlm | None = None
    """The model that is asked; None for rules."""
    prompt: Prompt = field(default_factory=lambda: _prompt(None))

    @property
    def calls(self) -> int:
        return 1 if self.by == "vlm" else 0

    @property
    def optional(self) -> bool:
        return self.by == "rules"

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        """The operator with a model to ask; itself where rules judge, so that a model is no part of its fingerprint."""
        return replace(self, vlm=vlm, prompt=_prompt(prompts)) if self.by == "vlm" else self

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        instruction = _instruction(pair)
        return (Request.of(self.prompt, (), schema=_SCHEMA, instruction=instruction),) if self.by == "vlm" else ()

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        if self.by == "rules":
            return each_pair(pairs, seeds, self.requests, lambda requests: [], self._judged_by_rules)
        assert self.vlm, "hold_out_edits by vlm needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._judged_by_model)

    def _judged_by_rules(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        verdict = self.rules(_instruction(pair))
        return self._judged(pair, verdict, Step(operator=self.name, version=self.version))

    def _judged_by_model(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        assert self.vlm
        (answer,) = answers
        verdict, _ = read_choice(answer, LABELS, _CALLED)
        return self._judged(pair, verdict, self.vlm.step(self, self.prompt, answer, None, {}))

    def _judged(self, pair: Pair, verdict: str, step: Step) -> Pair:
        if verdict != "other":
            raise Reject(HELD_OUT, verdict)
        params = {"novel_task": self.novel_task, "verdict": verdict, "by": self.by}
        return replace(pair, steps=(*pair.steps, replace(step, params=params)))


@dataclass(frozen=True, kw_only=True)
class NovelTask:
    """What is removed from training to test one novel task: this operator, from the pairs of these tasks."""

    name: str
    tasks: frozenset[str]
    operator: Link
    evaluation: str
    """What the paper tests it on."""


def _forward(novel_task: str) -> DropExamples:
    return DropExamples(novel_task=novel_task, examples=(("forward", "generate"),))


NOVEL_TASKS = {
    one.name: one
    for one in (
        NovelTask(name="derain", tasks=frozenset(["derain"]), operator=_forward("derain"), evaluation="Rain100H"),
        NovelTask(
            name="lowlight",
            tasks=frozenset(["lowlight", "retouch"]),
            operator=_forward("lowlight"),
            evaluation="LOL-val",
        ),
        NovelTask(
            name=EDITS,
            tasks=frozenset(["ultraedit", "magicbrush"]),
            operator=HoldOutEdits(),
            evaluation="100 InstructPix2Pix edits",
        ),
    )
}


def novel_task(name: str) -> str:
    """The name of a novel task, as options take it. Raises ValueError, one line, where there is nothing to hold out."""
    if name == "depth_palette":
        raise ValueError(
            f"{name} holds nothing out: no training data is drawn in the palette {UNSEEN_PALETTE}; make the test set "
            f"with `xprompt shards depth --split test --palette {UNSEEN_PALETTE}`"
        )
    return name


def concerned(task: str, names: Iterable[str]) -> list[str]:
    """Those of some novel tasks for which pairs of a task are left out, in their order."""
    return [name for name in names if name in NOVEL_TASKS and task in NOVEL_TASKS[name].tasks]


def hold_outs(task: str, names: Collection[str], by: EditJudge = "rules") -> tuple[Link, ...]:
    """The operators to append to a task's chain so that the named novel tasks are held out.

    `by` says who judges the edits of EDITS. Raises ValueError for a name that is no novel task.
    """
    if unknown := sorted(set(map(novel_task, names)) - set(NOVEL_TASKS)):
        raise ValueError(f"no such novel task: {', '.join(unknown)}; there are {', '.join(NOVEL_TASKS)}")
    operators = [NOVEL_TASKS[name].operator for name in concerned(task, sorted(set(names)))]
    return tuple(replace(operator, by=by) if isinstance(operator, HoldOutEdits) else operator for operator in operators)


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
