"""Filters style pairs by two questions to a vision-language model, two images at a time (paper, C.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from manifests.schema import Pair, Reject
from operators.vlm.answers import read_choice
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request, object_schema
from operators.vlm.responses import Answer
from operators.vlm.showing import shown

_ANSWERS = ("Yes", "No")
_SCHEMA = object_schema(reasoning=None, answer=_ANSWERS)


def _prompt(file: str, folder: str | None = None) -> Prompt:
    return load_prompt(file, folder, images=2)


@dataclass(frozen=True, kw_only=True)
class VlmFilter:
    """Keeps a pair if base and output have the same content and layout, and exemplar and output the same style.

    The second question is asked only of what the first keeps. Each answer is a score, 1 for yes and 0 for no, of kept
    and rejected pairs; its reasoning, if it gives any, is in the step of a kept pair and the message of a rejected one.
    Rejects: other_content, other_style, unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "vlm_filter"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 2
    optional: ClassVar[bool] = True
    vlm: Vlm | None = None
    base: str = "input"
    """Role of the image whose content the output must have, as `exemplar` is of the one whose style it must have."""
    exemplar: str = "exemplar"
    output: str = "target"
    reject_no: bool = True
    """Whether a No rejects the pair."""
    same_content: Prompt = field(default_factory=lambda: _prompt("same_content"))
    same_style: Prompt = field(default_factory=lambda: _prompt("same_style"))

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        same_content, same_style = _prompt("same_content", prompts), _prompt("same_style", prompts)
        return replace(self, vlm=vlm, same_content=same_content, same_style=same_style)

    def lenient(self) -> Self:
        return replace(self, reject_no=False)

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        return self._first(pair, seed) + self._second(pair, seed)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "vlm_filter needs a model"
        return self.vlm.each_at_its_pace(pairs, seeds, self._judged_twice)

    def _judged_twice(self, pair: Pair, seed: int) -> Pair | Reject:
        assert self.vlm
        (result,) = self.vlm.ask_each([pair], [seed], self._first, self._judged_content)
        if isinstance(result, Pair):
            (result,) = self.vlm.ask_each([result], [seed], self._second, self._judged_style)
        return result

    def _first(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        return (Request.of(self.same_content, [shown(pair, self.base), shown(pair, self.output)], schema=_SCHEMA),)

    def _second(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        return (Request.of(self.same_style, [shown(pair, self.exemplar), shown(pair, self.output)], schema=_SCHEMA),)

    def _judged_content(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        return self._judged(pair, answers, "content", self.same_content)

    def _judged_style(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        return self._judged(pair, answers, "style", self.same_style)

    def _judged(self, pair: Pair, answers: Sequence[Answer], what: str, prompt: Prompt) -> Pair:
        assert self.vlm
        (answer,) = answers
        said, reasoning = read_choice(answer, _ANSWERS)
        yes = said == "Yes"
        scores = {**pair.scores, f"same_{what}": float(yes)}
        if self.reject_no and not yes:
            raise Reject(f"other_{what}", reasoning or said, scores)
        params = {"question": f"same_{what}", "reasoning": reasoning}
        step = self.vlm.step(self, prompt, answer, None, params)
        return replace(pair, scores=scores, steps=(*pair.steps, step))
