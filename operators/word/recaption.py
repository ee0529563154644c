"""Rewrites captions densely by a vision-language model (paper, C.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from manifests.schema import Pair, Reject, Step, seed_for
from operators.vlm.answers import read_text
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer
from operators.vlm.showing import shown

KEPT_SHARE = 0.1
"""The share of the samples that keep their original caption: a tenth, in the paper's C.4."""

_LABELS = ("dense caption", "new caption", "rewritten caption", "description", "dense description")


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("recaption", folder, images=1, values=["caption"])


@dataclass(frozen=True, kw_only=True)
class Recaption:
    """Puts a dense caption of the target in the place of the source's, which goes on as the text "original_caption".

    The pair's seed decides which keep theirs; one without a caption gets one. Rejects: unparsed, and those of
    `Vlm.ask`.
    """

    name: ClassVar[str] = "recaption"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 1
    optional: ClassVar[bool] = True
    vlm: Vlm | None = None
    prompt: Prompt = field(default_factory=lambda: _prompt(None))
    kept_share: float = KEPT_SHARE

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        return replace(self, vlm=vlm, prompt=_prompt(prompts))

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        caption = pair.texts.get("caption", "").strip()
        if caption and seed_for(seed, "keep") < self.kept_share * 2**63:
            return ()
        return (Request.of(self.prompt, [shown(pair, "target")], caption=caption or "(none)"),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "recaption needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._captioned)

    def _captioned(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        assert self.vlm
        if not answers:
            step = Step(operator=self.name, version=self.version, seed=seed, params={"kept": True})
            return replace(pair, steps=(*pair.steps, step))
        (answer,) = answers
        caption = read_text(answer, "caption", _LABELS, self.prompt.text)
        original = pair.texts.get("caption", "")
        step = self.vlm.step(self, self.prompt, answer, seed, {"kept": False, "original": original})
        return replace(
            pair, texts={**pair.texts, "caption": caption, "original_caption": original}, steps=(*pair.steps, step)
        )
