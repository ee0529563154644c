"""Has a vision-language model propose an edit of a photo, with captions of before and after, and say where it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from manifests.schema import Pair, Reject, seed_for
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer
from operators.vlm.showing import read_box, read_lines, shown

KINDS = (
    "add an object",
    "remove an object",
    "replace an object by another",
    "change the colour or material of an object",
    "change the season, the weather or the time of day",
    "change the style of the whole image",
    "change the background",
)
"""Our kinds, after the sub-tasks of the paper's C.1. A pair's seed picks one, so that proposals do not all agree."""

EVERYWHERE = "everywhere"
"""What `where` is for an edit that no box holds."""


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("propose_edit", folder, images=1, values=["kind"])


@dataclass(frozen=True, kw_only=True)
class ProposeEdit:
    """Adds the texts "instruction", "source_caption" and "target_caption" to a pair that has an input.

    Its step's parameter `where` is the box that holds the change (`operators.vlm.showing.Box`, a list), or EVERYWHERE.
    Rejects: unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "propose_edit"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 1
    optional: ClassVar[bool] = False
    vlm: Vlm | None = None
    prompt: Prompt = field(default_factory=lambda: _prompt(None))

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        return replace(self, vlm=vlm, prompt=_prompt(prompts))

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        return (Request.of(self.prompt, [shown(pair, "input")], kind=_kind(seed)),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "propose_edit needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._proposed)

    def _proposed(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        assert self.vlm
        (answer,) = answers
        said = read_lines(answer, ("Instruction", "Before", "After", "Where"))
        names = {"instruction": "Instruction", "source_caption": "Before", "target_caption": "After"}
        texts = {name: said[label] for name, label in names.items()}
        where = EVERYWHERE if said["Where"] == EVERYWHERE else list(read_box(said["Where"], answer))
        step = self.vlm.step(self, self.prompt, answer, seed, {"kind": _kind(seed), **texts, "where": where})
        return replace(pair, texts={**pair.texts, **texts}, steps=(*pair.steps, step))


def _kind(seed: int) -> str:
    return KINDS[seed_for(seed, "kind") % len(KINDS)]
