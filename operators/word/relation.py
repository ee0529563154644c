"""Annotates a composite of two images: which of its attributes come from which of them (paper, C.3).

The paper asks GPT-4o: VLM=https://api.openai.com/v1 VLM_MODEL=gpt-4o. Any other vision-language model will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from manifests.schema import Pair, Reject
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer
from operators.vlm.showing import one_of, read_json, shown

ATTRIBUTES = ("layout", "semantics", "texture", "details")
"""The attributes of the paper's appendix C.3."""

FROM = ("image 1", "image 2", "both", "neither")


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("relation", folder, images=3)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Adds to a pair's texts, by the names of ATTRIBUTES, where each comes from, and as "relation" a sentence on it.

    Rejects: unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "relation"
    version: ClassVar[int] = 1
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 1
    optional: ClassVar[bool] = True
    vlm: Vlm | None = None
    first: str = "input1"
    """Role of image 1, as `second` is of image 2."""
    second: str = "input2"
    output: str = "target"
    prompt: Prompt = field(default_factory=lambda: _prompt(None))

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        return replace(self, vlm=vlm, prompt=_prompt(prompts))

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        return (Request.of(self.prompt, [shown(pair, role) for role in (self.first, self.second, self.output)]),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "relation needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._annotated)

    def _annotated(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        assert self.vlm
        (answer,) = answers
        said = read_json(answer, (*ATTRIBUTES, "relation"))
        attributes = {name: one_of(said[name], FROM, answer) for name in ATTRIBUTES}
        step = self.vlm.step(self, self.prompt, answer, None, attributes)
        texts = {**pair.texts, **attributes, "relation": said["relation"]}
        return replace(pair, texts=texts, steps=(*pair.steps, step))
