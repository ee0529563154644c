"""Small datasets of persons in poses, made by the real task but for its painters: plain colours in their place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from manifests.dataset import Dataset
from manifests.images.pixels import Pixels, encode_lossless
from manifests.schema import Pair, Reject
from operators.read.person_prompts import PersonPrompts
from operators.word.instruct_source import FromWords
from pipelines.tasks.personalisation import POSE
from tests.datasets import make_dataset


@dataclass(frozen=True, kw_only=True)
class Colours:
    """The first person of a pose, its drawing and the person that is painted, each a colour of its own."""

    name: ClassVar[str] = "colours"
    version: ClassVar[int] = 1
    lost: tuple[str, ...] = ()
    """References of the items of which the person does not take the pose."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        if pair.source_ref in self.lost:
            raise Reject("other_pose", "it is another one", {"oks": 0.1})
        said = {"input": pair.texts["person_prompt"], "pose": pair.context_group, "target": pair.source_ref}
        images = tuple(encode_lossless(role, colour_of(text)) for role, text in said.items())
        texts = {**pair.texts, "instruction": f"Show {pair.texts['person']} in the same pose."}
        return replace(pair, images=images, texts=texts, scores={"oks": 0.9})


def colour_of(text: str, side_px: int = 16) -> Pixels:
    """A square of the colour that a text stands for, with a frame."""
    number = zlib.crc32(text.encode())
    pixels = np.full((side_px, side_px, 3), [number >> shift & 255 for shift in (0, 8, 16)], np.uint8)
    pixels[:2] = 255 - pixels[:2]
    return pixels


def make_persons(out: Path, count: int, lost: tuple[str, ...] = ()) -> Dataset:
    """A finished dataset of so many items, four in each pose, less those that are lost."""
    task = replace(POSE, chain=(Colours(lost=lost), FromWords()))
    return make_dataset(out, None, task=task, reader=PersonPrompts(count=count))
