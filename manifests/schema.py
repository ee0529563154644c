"""The vocabulary as types, and the Arrow schemas of the three Parquet tables of a dataset directory.

    plan.parquet                        one row per planned item: the slice of the source that becomes each shard
    manifest/<task>-000000.parquet      one row per example
    rejects/<task>-000000.parquet       one row per item that was not kept

A pair is stored once, in a shard; its examples ({generate, describe} x {forward, reverse}, paper Tab. 6) are rows
that point at its images by shard, offset and length.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

SCHEMA_VERSION = 3
"""2 since an example has a ranked list of in-context examples, 3 since small pictures of what gates rejected are kept
(manifests/write/reject_pictures.py); what reads 1 and 2 is in manifests/versions.py."""

Direction = Literal["forward", "reverse"]
Kind = Literal["generate", "describe"]

MASK = "mask"
"""The role of the image that says where its pair's target differs: white where it is edited, repainted or filled in,
black where it is what it was. Of one channel or RGB with equal ones, 8 bits; what is above `MASKED_ABOVE` counts as
white. It lies on the grid of the first of `MASKED` that the pair has, which `verify` checks. It need not be an input of
an example. A pair's score `mask_area` is the white share of its area. What would be all black or all white marks no
part, and is not stored: then the score alone, 0 or 1, says so."""

MASKED = ("input", "person", "target")
"""Roles of the image that a pair's mask is drawn on; the first that is there has the mask's upright size."""

MASKED_ABOVE = 127
"""The highest value of a mask, of 255, that still means black."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """What a source promises at planning time: one pair, not yet read.

    `ref` names it uniquely within its source ("train/input/12.png", "china.jpg#3"); `files` are the paths it is read
    from, relative to the data root, "" where an expected file is missing; `index` counts inside a file (crop, row),
    or, for an item made of two (operators/read/photo_pairs.py), is the offset at which the "+" between their names
    stands in `ref`; `bytes` is the files' size, by which the plan notices that a source has changed.
    """

    ref: str
    files: tuple[str, ...]
    index: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A work unit: the items that become exactly one shard, `<task>-<index>`."""

    index: int
    name: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One link of a pair's provenance: which operator made it what it is, and with what."""

    operator: str
    version: int
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    model: str | None = None
    model_revision: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of a pair as it is stored. `width_px` and `height_px` are those of the upright image."""

    role: str
    data: bytes
    format: str
    width_px: int
    height_px: int
    mode: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """One training row of a pair: from the images `inputs` and the instruction to the image or text `output`.

    `output` is a role for a generate example and None for a describe example, whose answer is `text`.
    """

    direction: Direction
    kind: Kind
    inputs: tuple[str, ...]
    output: str | None
    instruction: str
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One of the pictures of which the best became a pair's target."""

    pair: str
    """The key of the pair, which may have been rejected because no candidate was good enough."""
    image: Image
    step: Step
    """How the picture was made."""
    scores: Mapping[str, float]
    reason: str | None
    """Why the picture could not be chosen; None if it could."""
    won: bool
    """Whether the picture is the pair's target."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The images of one transformation with all that is said and known about them."""

    key: str
    source: str
    source_ref: str
    licence: str
    images: tuple[Image, ...]
    group: str
    """Name of the original picture or scene: an in-context example preferably comes from another one."""
    context_group: str = ""
    """An in-context example only comes from a pair of the same context group: one style or one pose, say, where a task
    has many."""
    examples: tuple[Example, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """What the source says of the pair, by name ("caption", "instruction"), for operators to make examples of."""
    scores: Mapping[str, float] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    parents: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    """What the target was chosen among, where that is to be stored: manifests/write/candidates.py."""

    def image(self, role: str) -> Image | None:
        return next((image for image in self.images if image.role == role), None)

    def step(self, operator: str) -> Step | None:
        return next((step for step in self.steps if step.operator == operator), None)


MOST_MESSAGE_CHARS = 4_000
"""The longest that a message may be which quotes what came from outside. An answer that a prompt of ours asks for, of
512 tokens, fits in whole."""


def in_short(text: str, most_chars: int = MOST_MESSAGE_CHARS) -> str:
    """A text of at most so many characters: a longer one is cut off, and says how long it was."""
    if len(text) <= most_chars:
        return text
    cut = f" ... (of {len(text):,} characters)"
    return text[: most_chars - len(cut)] + cut


def in_a_line(said: object, most_chars: int = MOST_MESSAGE_CHARS) -> str:
    """What an error or a stranger says, in one line of at most so many characters; what it is if it says nothing."""
    return in_short(" ".join(str(said).split()), most_chars) or type(said).__name__


class Reject(Exception):
    """Raised by a reader or operator for a pair that is not to be kept. It becomes a row of the rejects table.

    `reason` is a short code to count by ("truncated"); the message is for people, and kept `in_short`, since models and
    sources say what they like; scores are those of the gate; candidates are those of which none was good enough, where
    they are to be stored; `output` is the image that was judged, where the pair itself has no target yet.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        scores: Mapping[str, float] | None = None,
        candidates: tuple[Candidate, ...] = (),
        output: Image | None = None,
    ) -> None:
        self.reason = reason
        self.message = in_short(message)
        super().__init__(self.message)
        self.scores = dict(scores or {})
        self.candidates = candidates
        self.output = output

    def __reduce__(self) -> tuple[type[Reject], tuple[str, str, dict[str, float]]]:
        """A copy in another process is made of all three, not of the message alone."""
        return Reject, (self.reason, self.message, self.scores)


class DatasetError(ValueError):
    """A dataset directory that cannot be used as asked. The message is one line that names it and the way out."""


def needs_context(listed: Collection[tuple[str, str]] | None, direction: str, kind: str, inputs: Sequence[str]) -> bool:
    """Whether an example of a direction, a kind and input images is to have an in-context example.

    `listed` are the directions and kinds of which a task says that they are; None leaves it to the rule that those with
    an input image are (paper section 4: tasks with an image in and an image out).
    """
    return bool(inputs) if listed is None else (direction, kind) in listed


def shown_inputs(inputs: Sequence[str], roles: Collection[str]) -> tuple[str, ...]:
    """The roles of the images that an example shows before its output when it is the in-context example of another.

    They are its inputs. An example without any, which is to make its output of a text alone, shows the "input" among
    the `roles` of its pair: what is asked of a pose is a person from words, and what is shown are two persons who have
    the pose in common (paper section 4.5).
    """
    return tuple(inputs) or tuple(role for role in ("input",) if role in roles)


NOTHING_KEPT = 3
"""Exit status of a command that keeps nothing, so that `xprompt shards ... && xprompt train` does not go on with it."""


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: sorted keys, no spaces, UTF-8. Hashes are taken over it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def pair_key(task: str, ref: str, *contents: bytes) -> str:
    """32 hex digits from the task, the source reference and the source's bytes. No dots: WebDataset splits there."""
    digest = hashlib.sha256(canonical_json([task, ref]).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:32]


def seed_for(run_seed: int, *names: str) -> int:
    """A seed in [0, 2**63) that depends on the run's seed and on what is seeded, never on order or worker."""
    digest = hashlib.sha256(canonical_json([run_seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


PLAN = pa.schema(
    [
        pa.field("unit", pa.int32(), False),
        pa.field("ref", pa.string(), False),
        pa.field("files", pa.list_(pa.string()), False),
        pa.field("index", pa.int64(), False),
        pa.field("bytes", pa.int64(), False),
    ]
)

_SCORES = pa.map_(pa.string(), pa.float64())

_IMAGE = pa.struct(
    [
        pa.field("role", pa.string(), False),
        pa.field("member", pa.string(), False),
        pa.field("offset", pa.int64(), False),
        pa.field("bytes", pa.int64(), False),
        pa.field("sha256", pa.string(), False),
        pa.field("format", pa.string(), False),
        pa.field("width_px", pa.int32(), False),
        pa.field("height_px", pa.int32(), False),
        pa.field("mode", pa.string(), False),
        pa.field("phash", pa.string()),  # manifests.images.phash; null for a flat image or one that cannot be decoded
    ]
)

_STEP = pa.struct(
    [
        pa.field("operator", pa.string(), False),
        pa.field("version", pa.int32(), False),
        pa.field("params", pa.string(), False),
        pa.field("seed", pa.int64()),
        pa.field("model", pa.string()),
        pa.field("model_revision", pa.string()),
        pa.field("prompt", pa.string()),
    ]
)

CONTEXT = pa.struct(
    [
        pa.field("pair", pa.string(), False),
        pa.field("dataset", pa.string()),  # where it lies, if it is of another dataset: manifests/read/places.py
        pa.field("score", pa.float64()),  # how near it is, where it was retrieved
    ]
)
"""An in-context example: another pair, whose example of the same direction and kind is shown."""

MANIFEST = pa.schema(
    [
        pa.field("pair", pa.string(), False),
        pa.field("task", pa.string(), False),
        pa.field("prototype_task", pa.string(), False),
        pa.field("direction", pa.string(), False),
        pa.field("kind", pa.string(), False),
        pa.field("instruction", pa.string(), False),
        pa.field("inputs", pa.list_(pa.string()), False),
        pa.field("output", pa.string()),
        pa.field("text", pa.string()),
        pa.field("contexts", pa.list_(CONTEXT), False),  # the best first; empty if there is none
        pa.field("context_method", pa.string()),  # how they were chosen; null if there is none
        pa.field("shard", pa.string(), False),
        pa.field("images", pa.list_(_IMAGE), False),
        pa.field("scores", _SCORES, False),
        pa.field("source", pa.string(), False),
        pa.field("source_ref", pa.string(), False),
        pa.field("source_group", pa.string(), False),
        pa.field("licence", pa.string(), False),
        pa.field("parents", pa.list_(pa.string()), False),
        pa.field("steps", pa.list_(_STEP), False),
    ]
)

TEXT_REJECTS = pa.schema(
    [
        pa.field("task", pa.string(), False),
        pa.field("source", pa.string(), False),
        pa.field("source_ref", pa.string(), False),
        pa.field("files", pa.list_(pa.string()), False),
        pa.field("operator", pa.string(), False),
        pa.field("reason", pa.string(), False),
        pa.field("message", pa.string(), False),
        pa.field("scores", _SCORES, False),
    ]
)
"""The columns of texts that got no tokens (manifests/tokens.py), and of the rejects of versions 1 and 2."""

PICTURE = pa.struct(
    [
        pa.field("side", pa.string(), False),  # "input" or "output"
        pa.field("member", pa.string(), False),
        pa.field("offset", pa.int64(), False),
        pa.field("bytes", pa.int32(), False),
        pa.field("sha256", pa.string(), False),
        pa.field("width_px", pa.int32(), False),
        pa.field("height_px", pa.int32(), False),
    ]
)
"""A small picture of a reject, in the tar of its unit: manifests/write/reject_pictures.py."""

REJECTS = TEXT_REJECTS.append(pa.field("shard", pa.string(), False)).append(
    pa.field("pictures", pa.list_(PICTURE), False)  # empty if there is none
)
"""`shard` is the name of the unit's tars, of which the one in `reject_pictures/` has the pictures."""
