"""How the rows of published edit datasets tell their edits: one of them, or all turns of a session."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, Protocol

from operators.read.columns import MOST_INPUTS, value_of
from operators.read.parquet import as_name, as_number, as_text

_OMNIGEN_IMAGE = re.compile(r"<img>\s*<\|image_(\d+)\|>\s*</img>")
"""How OmniGen's instructions name an input: process_multi_modal_prompt in OmniGen/processor.py of
https://github.com/VectorSpaceLab/OmniGen (line 58) counts them from 1."""

_ANYEDIT_IMAGE = "[v*]"
"""How AnyEdit's instructions name their visual input, which is the second: README.md of
https://github.com/DCDmllm/AnyEdit, table "Part II"."""

_LLAVA_IMAGE = "<image>"
"""Where LLaVA's conversations have an image, which says nothing of which it is."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A rectangle of an image that holds several, which is to be cut out without loss."""

    whole: Any
    """The image as the row has it."""
    box_px: tuple[int, int, int, int]
    """Left, top, right and bottom."""
    size_px: tuple[int, int]
    """Width and height that the whole must have, since the rectangle means nothing in another."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """An edit as a row tells it. Images are bytes, structs of bytes and path, paths, or parts of one of these."""

    inputs: Sequence[Any]
    target: Any
    texts: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    """What a manifest keeps of it, in the step "read"."""
    scores: Mapping[str, float] = field(default_factory=dict)
    losers: Sequence[Any] = ()
    """Images that the dataset says are worse targets of the same instruction."""

    @property
    def images(self) -> tuple[Any, ...]:
        """All of its images: the inputs, the target, the losers."""
        return (*self.inputs, self.target, *self.losers)


class Shape(Protocol):
    """How the rows of a dataset are to be understood. Implementations are frozen dataclasses, part of a fingerprint."""

    sessions: ClassVar[bool]
    """Whether a row is a session: its edits are turns, each of what the one before has made."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that a table has if it is of this shape."""
        ...

    @property
    def taken(self) -> Mapping[str, str]:
        """What each column is taken for, in words."""
        ...

    @property
    def most_inputs(self) -> int:
        """The most input images that an edit has."""
        ...

    def is_turn(self, name: str) -> bool:
        """Whether a column is of a turn beyond those that every row has."""
        ...

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        """The edits of a row, in order; none for a row that tells of none."""
        ...


@dataclass(frozen=True, kw_only=True)
class OneEdit:
    """A row is one edit. Columns are named as in `operators/read/columns.py`: a name with dots reaches into one."""

    sessions: ClassVar[bool] = False
    inputs: tuple[str, ...]
    """Columns of the inputs in order; one that holds a list counts as all that is in it."""
    optional: tuple[str, ...] = ()
    """Columns of further inputs, which many rows do not have."""
    target: str
    texts: tuple[tuple[str, str], ...]
    """Name in a pair's texts, and column. Of a list of texts the first is taken."""
    params: tuple[tuple[str, str], ...] = ()
    """Name in the step "read", and column."""
    scores: tuple[str, ...] = ()
    losers: str = ""
    """Column of a list of images that are worse than the target."""

    @property
    def needs(self) -> tuple[str, ...]:
        columns = (*self.inputs, *self.optional, self.target, *(name for _, name in (*self.texts, *self.params)))
        return tuple(dict.fromkeys((*columns, *self.scores, *filter(None, [self.losers]))))

    @property
    def taken(self) -> Mapping[str, str]:
        inputs = dict.fromkeys(self.inputs, "input") | dict.fromkeys(self.optional, "another input")
        losers = {self.losers: "what lost against it"} if self.losers else {}
        return (
            inputs | {self.target: "target"} | losers | {column: name for name, column in (*self.texts, *self.params)}
        )

    @property
    def most_inputs(self) -> int:
        return MOST_INPUTS

    def is_turn(self, name: str) -> bool:
        return False

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        inputs = [one for name in self.inputs for one in _listed(value_of(row, name))]
        further = [one for name in self.optional for one in _listed(value_of(row, name)) if _is_there(one)]
        (target, *others) = _listed(value_of(row, self.target)) or [None]
        if others:
            return ()  # which of them is meant is not said
        texts = {name: text for name, column in self.texts if (text := _text(value_of(row, column)))}
        if "instruction" in texts:
            texts["instruction"] = naming_images(texts["instruction"], len(inputs) + len(further))
        return [
            Told(
                inputs=(*inputs, *further),
                target=target,
                texts=texts,
                params=dict(_told_of(row, self.params)),
                scores=_scores(row, self.scores),
                losers=_listed(value_of(row, self.losers)) if self.losers else (),
            )
        ]


@dataclass(frozen=True, kw_only=True)
class EditsInList:
    """A row is a session: a column with a list of edits."""

    sessions: ClassVar[bool] = True
    column: str
    edit: OneEdit
    """How each of the list is told."""

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def taken(self) -> Mapping[str, str]:
        return {self.column: "turns"}

    @property
    def most_inputs(self) -> int:
        return self.edit.most_inputs

    def is_turn(self, name: str) -> bool:
        return False

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        turns = _listed(value_of(row, self.column))
        edits = [self.edit.told(turn) if isinstance(turn, Mapping) else () for turn in turns]
        return [edit for one in edits for edit in one] if all(edits) else ()


@dataclass(frozen=True, kw_only=True)
class NumberedTurns:
    """A row is a session: a first image, and what each turn makes and is told in columns that end in its number."""

    sessions: ClassVar[bool] = True
    first: str
    image: str
    """Beginning of the names of the columns of images: "edit_image_" of "edit_image_1"."""
    instruction: str

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.first, f"{self.image}1", f"{self.instruction}1")

    @property
    def taken(self) -> Mapping[str, str]:
        return {self.first: "input", f"{self.image}1": "target of turn 1", f"{self.instruction}1": "its instruction"}

    @property
    def most_inputs(self) -> int:
        return 1

    def is_turn(self, name: str) -> bool:
        begins = next((one for one in (self.image, self.instruction) if name.startswith(one)), None)
        return begins is not None and name[len(begins) :].isdecimal()

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        before, edits = row.get(self.first), []
        for turn in count(1):
            after = row.get(f"{self.image}{turn}")
            if not _is_there(after):
                break
            text = _text(row.get(f"{self.instruction}{turn}"))
            edits.append(Told(inputs=(before,), target=after, texts={"instruction": text} if text else {}))
            before = after
        return edits


@dataclass(frozen=True, kw_only=True)
class PicoBananaTurns:
    """A row is a session of Pico-Banana-400K: `files` names the images by what they are, and a list has the prompts.

    {"files": [{"id": "edit_turn1", "url": ...}, ..., {"id": "final_image", ...}, {"id": "original_input_image", ...}],
    "metadata_edit_turn_prompts": [...], "local_input_image": ...}: the last is what the authors' script adds.
    """

    sessions: ClassVar[bool] = True
    first: str = "local_input_image"

    @property
    def needs(self) -> tuple[str, ...]:
        return ("files", "metadata_edit_turn_prompts", self.first)

    @property
    def taken(self) -> Mapping[str, str]:
        return {self.first: "input", "files": "targets", "metadata_edit_turn_prompts": "instructions"}

    @property
    def most_inputs(self) -> int:
        return 1

    def is_turn(self, name: str) -> bool:
        return False

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        files = {
            as_name(one.get("id")): one.get("url") for one in _listed(row.get("files")) if isinstance(one, Mapping)
        }
        prompts = _listed(row.get("metadata_edit_turn_prompts"))
        before, edits = row.get(self.first), []
        for turn, prompt in enumerate(prompts, 1):
            after = files.get(f"edit_turn{turn}", files.get("final_image") if turn == len(prompts) else None)
            text = _text(prompt)
            edits.append(Told(inputs=(before,), target=after, texts={"instruction": text} if text else {}))
            before = after
        return edits


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A row is one edit in LLaVA's form: a list of images of which the last is made, and what a human asks for it."""

    sessions: ClassVar[bool] = False
    images: str = "image"
    talk: str = "conversations"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.images, self.talk)

    @property
    def taken(self) -> Mapping[str, str]:
        return {self.images: "input and target", self.talk: "instruction"}

    @property
    def most_inputs(self) -> int:
        return MOST_INPUTS

    def is_turn(self, name: str) -> bool:
        return False

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        images = _listed(row.get(self.images))
        said = [one for one in _listed(row.get(self.talk)) if isinstance(one, Mapping) and one.get("from") == "human"]
        if len(images) < 2 or len(said) != 1:
            return ()
        text = " ".join(_text(said[0].get("value")).replace(_LLAVA_IMAGE, " ").split())
        return [Told(inputs=images[:-1], target=images[-1], texts={"instruction": text} if text else {})]


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """A row is an image that holds two beside each other, either of which can be made from the other.

    The left one is the input and the right one the target of what is said of it; what is said of the left one is the
    instruction of the way back. They are cut as Subject200KDataset does, omini/train_flux/train_subject.py (lines 51 to
    66) of https://github.com/Yuanshi9815/OminiControl: with a side s and a padding p, the left one is at (p, p) and the
    right one at (s + 2 p, p), in a whole of 2 (s + 2 p) x (s + 2 p).
    """

    sessions: ClassVar[bool] = False
    image: str
    side_px: int
    """Of the two images, which are square."""
    padding_px: int
    left: str
    """Column of what is said of the left image."""
    right: str
    params: tuple[tuple[str, str], ...] = ()
    scores: tuple[tuple[str, str], ...] = ()
    """Name in a pair's scores, and column."""

    @property
    def needs(self) -> tuple[str, ...]:
        named = (name for _, name in (*self.params, *self.scores))
        return tuple(dict.fromkeys((self.image, self.left, self.right, *named)))

    @property
    def taken(self) -> Mapping[str, str]:
        said = {self.left: "reverse", self.right: "instruction"}
        return {self.image: "input and target"} | said | {column: name for name, column in self.params}

    @property
    def most_inputs(self) -> int:
        return 1

    def is_turn(self, name: str) -> bool:
        return False

    def told(self, row: Mapping[str, Any]) -> Sequence[Told]:
        whole, side, gap = value_of(row, self.image), self.side_px, self.padding_px
        size = 2 * (side + 2 * gap), side + 2 * gap
        lefts = gap, side + 2 * gap
        before, after = (
            Part(whole=whole, box_px=(left, gap, left + side, gap + side), size_px=size) if _is_there(whole) else None
            for left in lefts
        )
        said = {"instruction": self.right, "reverse": self.left}
        return [
            Told(
                inputs=(before,),
                target=after,
                texts={name: text for name, column in said.items() if (text := _text(value_of(row, column)))},
                params=dict(_told_of(row, self.params)),
                scores={
                    name: score
                    for name, column in self.scores
                    if (score := as_number(value_of(row, column))) is not None
                },
            )
        ]


def naming_images(instruction: str, images: int) -> str:
    """An instruction that names its input images as ours do, in their order: <image 1>, <image 2> (paper, C.3).

    OmniGen's `<img><|image_1|></img>` becomes <image 1>. AnyEdit's `[v*]` becomes the words "image 2", for it names the
    second alone, and where there are placeholders each image has one (operators/judge/arity.py).
    """
    named = _OMNIGEN_IMAGE.sub(r"<image \1>", instruction)
    return named.replace(_ANYEDIT_IMAGE, "image 2") if images == 2 else named


def _listed(value: Any) -> list[Any]:
    """A value as a list: all that is in one, or it alone; nothing for null."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_there(value: Any) -> bool:
    """Whether a value is an image or a path at all: not null, an empty text or one that says "None"."""
    if isinstance(value, Mapping):
        return bool(value.get("bytes")) or _is_there(value.get("path"))
    return bool(value) and (not isinstance(value, str) or bool(as_text(value)))


def _text(value: Any) -> str:
    """A text, or the first of a list of them."""
    return next((text for one in _listed(value) if (text := as_text(one))), "")


def _told_of(row: Mapping[str, Any], names: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Any]]:
    for name, column in names:
        value = value_of(row, column)
        if isinstance(value, bool):
            yield name, value
        elif text := as_name(value) if isinstance(value, str | bytes | int | float) else "":
            yield name, text


def _scores(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    return {name: score for name in names if (score := as_number(value_of(row, name))) is not None}
