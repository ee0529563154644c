"""GenEval's checks (https://arxiv.org/abs/2310.11513): are the objects that a prompt names there, so many, so coloured,
so placed?

The rules and constants are those of https://github.com/djghosh13/geneval, evaluation/evaluate_images.py. Its detector
is mmdetection's Mask2Former Swin-S, trained on COCO's instances, and its colours are told by OpenAI's CLIP ViT-L/14 on
objects cut out by their masks. Here any detector that satisfies `Detector` and any CLIP serve, so scores of another
one, or of a detector without masks, are not the published ones. transformers has a Mask2Former of that size and
training as facebook/mask2former-swin-small-coco-instance; how its figures compare with the published is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import Pixels
from operators.shared.vectors import Vector
from operators.shared.vision import Clip

THRESHOLD = 0.3
"""Least confidence of an object; for counting prompts it is COUNTING_THRESHOLD."""

COUNTING_THRESHOLD = 0.9
_MAX_OBJECTS = 16  # a class
_POSITION_SLACK = 0.1  # of the two objects' sizes, by which they may overlap in a direction that is not meant

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
_TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")
_BACKGROUND = 0x99  # grey, behind an object that is cut out


@dataclass(frozen=True, kw_only=True)
class Found:
    """A detected object: its class, its confidence in [0, 1], its box (left, top, right, bottom) in px, its mask."""

    name: str
    score: float
    box: tuple[float, float, float, float]
    mask: npt.NDArray[np.bool_] | None = None


class Detector(Protocol):
    def __call__(self, pixels: Pixels) -> Sequence[Found]:
        """Whatever is seen in H x W x 3 pixels, unsure objects too, in any order."""
        ...


ColourOf = Callable[[Pixels, Found], str]
"""The colour, one of COLOURS, of an object in an image."""


def check(pixels: Pixels, found: Sequence[Found], prompt: Mapping[str, Any], colour_of: ColourOf) -> list[str]:
    """What is wrong with an image for a prompt, a line of GenEval's metadata; nothing if it is as asked."""
    threshold = COUNTING_THRESHOLD if prompt["tag"] == "counting" else THRESHOLD
    objects: dict[str, list[Found]] = {}
    for thing in sorted(found, key=lambda thing: -thing.score):
        group = objects.setdefault(thing.name, [])
        if thing.score > threshold and len(group) < _MAX_OBJECTS:
            group.append(thing)
    wrong: list[str] = []
    matched: list[list[Found] | None] = []
    for wanted in prompt.get("include", ()):
        group = objects.get(wanted["class"], [])[: wanted["count"]]
        message = _unmet(pixels, group, wanted, matched, colour_of)
        wrong += [message] if message else []
        matched.append(None if message else group)
    for unwanted in prompt.get("exclude", ()):
        if (count := len(objects.get(unwanted["class"], []))) >= unwanted["count"]:
            wrong.append(f"expected fewer than {unwanted['count']} {unwanted['class']}, found {count}")
    return wrong


def _unmet(
    pixels: Pixels,
    group: Sequence[Found],
    wanted: Mapping[str, Any],
    matched: Sequence[list[Found] | None],
    colour_of: ColourOf,
) -> str:
    """Why the objects of a class do not meet a clause of the prompt; "" if they do."""
    name, count = wanted["class"], wanted["count"]
    if len(group) < count:
        return f"expected {count} {name}, found {len(group)}"
    if colour := wanted.get("color"):
        colours = [colour_of(pixels, thing) for thing in group]
        if colours.count(colour) < count:
            return f"expected {count} {colour} {name}, found {', '.join(colours)}"
    if "position" in wanted:
        relation, place = wanted["position"]
        others = matched[place]
        if others is None:
            return f"nothing for {name} to be {relation}"
        if any(relation not in relations(thing, other) for thing in group for other in others):
            return f"expected {name} {relation} the other"
    return ""


def relations(thing: Found, other: Found) -> set[str]:
    """How an object lies to another: "left of", "right of", "above", "below", two of them, or none."""
    box, reference = (np.array(one.box, np.float64).reshape(2, 2) for one in (thing, other))
    offset = box.mean(0) - reference.mean(0)
    slack = _POSITION_SLACK * (np.abs(np.diff(box, axis=0)) + np.abs(np.diff(reference, axis=0)))[0]
    clear = np.maximum(np.abs(offset) - slack, 0) * np.sign(offset)
    if np.all(np.abs(clear) < 1e-3):
        return set()
    x, y = clear / np.linalg.norm(offset)
    holds = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {relation for relation, is_so in holds.items() if is_so}


class ClipColours:
    """Tells colours by CLIP: the nearest of `a photo of a <colour> <class>`, each a mean over three wordings."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._classifiers: dict[str, npt.NDArray[np.float64]] = {}

    def __call__(self, pixels: Pixels, thing: Found) -> str:
        if thing.mask is not None:
            pixels = np.where(thing.mask[..., None], pixels, np.uint8(_BACKGROUND))
        left, top, right, bottom = (max(0, round(edge)) for edge in thing.box)
        crop = np.ascontiguousarray(pixels[top : max(bottom, top + 1), left : max(right, left + 1)])
        (vector,) = self._clip.embed([self._clip.seen_by_open_clip(crop)])
        return COLOURS[int(np.argmax(self._classifier(thing.name) @ vector))]

    def _classifier(self, name: str) -> npt.NDArray[np.float64]:
        """CLIP's vectors of the colours for a class, one row of length 1 for each."""
        if name not in self._classifiers:
            rows: list[Vector] = []
            for colour in COLOURS:
                wordings = [template.format(colour=colour, name=name) for template in _TEMPLATES]
                rows.append(np.mean(self._clip.embed_texts(wordings), axis=0))
            matrix = np.stack(rows)
            self._classifiers[name] = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        return self._classifiers[name]
