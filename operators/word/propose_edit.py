"""Has a vision-language model propose an edit of a photo, with captions of before and after, and say where it shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

from manifests.images.pixels import read_header
from manifests.schema import Pair, Reject, seed_for
from operators.option import option
from operators.vlm.answers import one_text, read_parts, unparsed
from operators.vlm.boxes import Convention, Size, convention_of, in_words, read_box
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt, load_prompt
from operators.vlm.request import Request, object_schema
from operators.vlm.responses import Answer
from operators.vlm.showing import shown

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

Boxes = Literal["auto", "thousandths", "pixels", "none"]

_NAMES = {
    "instruction": ("edit", "edit instruction"),
    "source_caption": ("before", "caption before", "before caption"),
    "target_caption": ("after", "caption after", "after caption"),
    "where": ("box", "bbox", "bbox_2d", "bounding box"),
}
"""What an answer says, with what the prompt and models call it."""

_EVERYWHERE = re.compile(
    r"\W*everywhere\W*(?:(?:in|on|over|across) the (?:whole |entire )?(?:image|photo|picture)\W*)?", re.IGNORECASE
)
_SCHEMA = object_schema(instruction=None, before=None, after=None, where=None)


def _prompt(folder: str | None) -> Prompt:
    return load_prompt("propose_edit", folder, images=1, values=["kind", "where"])


@dataclass(frozen=True, kw_only=True)
class ProposeEdit:
    """Adds the texts "instruction", "source_caption" and "target_caption" to a pair that has an input.

    Its step's parameter `where` is the box that holds the change (`operators.vlm.boxes.Box`, a list), or EVERYWHERE,
    as always where the model is not asked for a box. Rejects: unparsed, also for a box that looks wrong, and those of
    `Vlm.ask`.
    """

    name: ClassVar[str] = "propose_edit"
    version: ClassVar[int] = 3
    batch_size: ClassVar[int] = 64
    calls: ClassVar[int] = 1
    optional: ClassVar[bool] = False
    vlm: Vlm | None = None
    boxes: Boxes = option(
        "auto",
        "how the vision-language model counts in the boxes that it gives; none: it is asked for none, and edits are "
        "made without one (auto: by the model's name)",
        choices=get_args(Boxes),
    )
    prompt: Prompt = field(default_factory=lambda: _prompt(None))

    @property
    def convention(self) -> Convention:
        """How the model counts."""
        if self.boxes == "auto":
            return convention_of(self.vlm.model if self.vlm else "")
        return self.boxes

    def asking(self, vlm: Vlm, prompts: str | None) -> Self:
        return replace(self, vlm=vlm, prompt=_prompt(prompts))

    def requests(self, pair: Pair, seed: int) -> tuple[Request, ...]:
        image = shown(pair, "input")
        where = where_in_words(self.convention, _size(image))
        return (Request.of(self.prompt, [image], schema=_SCHEMA, kind=_kind(seed), where=where),)

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        assert self.vlm, "propose_edit needs a model"
        return self.vlm.ask_each(pairs, seeds, self.requests, self._proposed)

    def _proposed(self, pair: Pair, seed: int, answers: Sequence[Answer]) -> Pair:
        assert self.vlm
        (answer,) = answers
        said = {**read_parts(answer, _NAMES).said}
        if self.convention == "none":
            said["where"] = EVERYWHERE
        if set(said) != set(_NAMES):
            raise unparsed(answer)
        place = said.pop("where")
        texts = {name: one_text(text, answer, self.prompt.text) for name, text in said.items()}
        where: str | list[int] = EVERYWHERE
        if not _EVERYWHERE.fullmatch(place):
            where = list(read_box(place, self.convention, _size(shown(pair, "input")), answer))
        step = self.vlm.step(self, self.prompt, answer, seed, {"kind": _kind(seed), **texts, "where": where})
        return replace(pair, texts={**pair.texts, **texts}, steps=(*pair.steps, step))


def where_in_words(convention: Convention, size: Size) -> str:
    """What the prompt says of how to say where an edit shows, of an image of a size."""
    if convention == "none":
        return f"the word {EVERYWHERE}"
    return (
        f"the word {EVERYWHERE} if the edit shows all over the image; otherwise the box that holds all that changes, "
        f"as {in_words(convention, size)}"
    )


def _size(image: bytes) -> Size:
    header = read_header(image)
    return header.width_px, header.height_px


def _kind(seed: int) -> str:
    return KINDS[seed_for(seed, "kind") % len(KINDS)]
