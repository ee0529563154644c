"""Words how a composite of two images follows from them, as an instruction to make it (paper, C.3).

The paper asks GPT-4o: VLM=https://api.openai.com/v1 VLM_MODEL=gpt-4o. Any other vision-language model will do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

from manifests.schema import Pair, Reject
from operators.option import option
from operators.vlm.answers import one_of, one_text, read_parts, read_text, unparsed
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request, object_schema
from operators.vlm.responses import Answer
from operators.vlm.showing import shown

Form = Literal["dense", "attributes"]
"""What a model is asked for: a dense instruction, as in the paper's Fig. 9, or where each attribute comes from."""

ATTRIBUTES = ("layout", "semantics", "texture", "details")
"""The attributes of the paper's appendix C.3."""

FROM = ("image 1", "image 2", "both", "neither")

_FILES: dict[Form, str] = {"dense": "relation", "attributes": "relation_attributes"}
_NAMES = ("prompt", "text prompt", "composition prompt", "instruction", "dense instruction", "dense prompt")
_SCHEMA = object_schema(**dict.fromkeys(ATTRIBUTES, FROM), relation=None)
_PLACEHOLDER = re.compile(r"[<\[({‹«]\s*image[\s_#-]*(\d+)\s*[>\])}›»]", re.IGNORECASE)
_BARE = re.compile(r"\bimage[\s_#-]*(\d+)\b", re.IGNORECASE)


def _prompt(form: Form, folder: str | None) -> Prompt:
    return load_prompt(_FILES[form], folder, images=3)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Words the instruction of a composite by what it has from which image; it belongs behind `Instruct`.

    A dense instruction, which speaks of the inputs in their order as <image 1> and <image 2>, takes the place of the
    forward generate example's. Attributes go into the pair's texts, by the names of ATTRIBUTES, and a sentence on them
    behind the instruction. Either text is kept as "relation". Rejects: unparsed, and those of `Vlm.ask`.
    """

    name: ClassVar[str] = "relation"
    version: ClassVar[int] = 2
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 1
    optional: ClassVar[bool] = True
    vlm: Vlm | None = None
    first: str = "input1"
    """Role of image 1, as `second` is of image 2."""
    second: str = "input2"
    output: str = "target"
    form: Form = option(
        "dense",
        "what a vision-language model words of a composite: the instruction itself, or where its attributes come from",
        name="relation",
        choices=get_args(Form),
    )
    prompt: Prompt = field(default_factory=lambda: _prompt("dense", None))

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        return replace(self, vlm=vlm, prompt=_prompt(self.form, prompts))

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        images = [shown(pair, role) for role in (self.first, self.second, self.output)]
        return (Request.of(self.prompt, images, schema=_SCHEMA),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "relation needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._annotated)

    def _annotated(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        assert self.vlm
        (answer,) = answers
        attributes: dict[str, str] = {}
        if self.form == "dense":
            relation = _with_placeholders(read_text(answer, "relation", _NAMES, self.prompt.text), answer)
        else:
            attributes, relation = _attributes(answer, self.prompt.text)
        examples = tuple(
            replace(example, instruction=relation if self.form == "dense" else f"{example.instruction} {relation}")
            if (example.direction, example.kind) == ("forward", "generate")
            else example
            for example in pair.examples
        )
        step = self.vlm.step(self, self.prompt, answer, None, {"form": self.form, **attributes})
        texts = {**pair.texts, **attributes, "relation": relation}
        return replace(pair, texts=texts, examples=examples, steps=(*pair.steps, step))


def _with_placeholders(text: str, answer: Answer) -> str:
    """An instruction with both images called by placeholders. Raises Reject, unparsed, unless it calls just both."""
    pattern = _PLACEHOLDER if _PLACEHOLDER.search(text) else _BARE
    if set(pattern.findall(text)) != {"1", "2"}:
        raise unparsed(answer)
    return pattern.sub(r"<image \1>", text)


def _attributes(answer: Answer, asked: str) -> tuple[dict[str, str], str]:
    """Where each attribute comes from, and a sentence on it. Raises Reject, unparsed."""
    parts = read_parts(answer, dict.fromkeys((*ATTRIBUTES, "relation"), ()))
    if set(parts.said) != {*ATTRIBUTES, "relation"}:
        raise unparsed(answer)
    attributes = {name: one_of(parts.said[name], FROM, answer) for name in ATTRIBUTES}
    return attributes, one_text(parts.said["relation"], answer, asked)
