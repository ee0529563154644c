"""A dataset with all that a format may meet, and what is to be found of it in an export.

Four pairs: two of one input, of which one was taken with the camera turned; one of two inputs and a mask; one of a text
alone. Texts hold marks of other formats. Each of the first two is the in-context example of the other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as PILImage

from manifests.dataset import Dataset, plan_table
from manifests.images.pixels import Pixels, encode_lossless, stored
from manifests.read.pairs import StoredExample
from manifests.schema import Example, Image, Item, Pair, pair_key
from manifests.write.writer import Context, UnitWriter
from tests.manifests.make import LICENCE, SOURCE, finish_dataset, photo

HOSTILE = 'Füge "Hüte"\u2028hinzu\n\\ <\\editing instruction> 帽子 🎩 {"a": 1} \x7f --- '
SUFFIXES = {"input": "jpg", "reference": "png", "mask": "png", "target": "png"}


class Seen(NamedTuple):
    """What a reader makes of an example: the images as it sees them, in order, and its text."""

    inputs: list[Pixels]
    output: Pixels | None
    instruction: str


def make_varied(
    url: Path,
    *,
    task: str = "magicbrush",
    pairs_from: int = 0,
    mark: str | None = None,
    crossed: bool = False,
    dark: int = 2,
) -> Dataset:
    """The dataset, finished, or the last of its pairs; `mark`: what is asked of the first; `crossed`: the
    second and the third, of one and two inputs, are each other's in-context example. Keys are the same however dark
    the inputs of the first two are."""
    dataset = Dataset(str(url))
    pairs = [*_pairs(task, mark, dark)][pairs_from:]
    items = [Item(ref=pair.source_ref, files=("photo.png",), index=number) for number, pair in enumerate(pairs)]
    plan = dataset.write_plan(task, {"task": task, "seed": 0}, "f" * 64, plan_table([items]))
    with UnitWriter.open(dataset, plan, 0, prototype_task="editing", suffixes=SUFFIXES) as writer:
        for pair in pairs:
            writer.add(pair)
    first, second = pairs[1:3] if crossed else pairs[:2] if pairs_from == 0 else (None, None)
    contexts = {
        (pair.key, example.direction, example.kind): Context(pair=other.key, method="seeded")
        for pair, other in ((first, second), (second, first))
        if pair and other
        for example in pair.examples
        if any((example.direction, example.kind) == (one.direction, one.kind) for one in other.examples)
    }
    writer.commit(contexts, len(contexts), {})
    finish_dataset(dataset, plan)
    return dataset


def seen(example: StoredExample) -> Seen:
    """An example as it is meant: its images upright."""
    pair = example.pair
    return Seen(
        inputs=[pair.image(role) for role in example.inputs],
        output=None if example.output is None else pair.image(example.output),
        instruction=example.instruction,
    )


def is_same(one: Seen, other: Seen) -> bool:
    """Whether two readers saw the same pixels and read the same text."""
    ours, theirs = ([*each.inputs, *([] if each.output is None else [each.output])] for each in (one, other))
    return (
        one.instruction == other.instruction
        and (len(one.inputs), len(ours)) == (len(other.inputs), len(theirs))
        and all(map(np.array_equal, ours, theirs))
    )


def _pairs(task: str, mark: str | None, dark: int) -> Iterator[Pair]:
    turned = PILImage.Exif()
    turned[0x0112] = 6  # orientation: turned by 90 degrees
    edit, undo = HOSTILE, "Take it off again."
    for index, image in enumerate((_jpeg(photo(0) // dark), _jpeg(np.rot90(photo(1) // dark).copy(), turned))):
        examples = (
            Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction=edit),
            Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction=undo),
            Example(
                direction="forward",
                kind="describe",
                inputs=("input", "target"),
                output=None,
                instruction=mark if mark and index == 0 else "What has changed? ü\u2028",
                text=f"Photo {index} is brighter.\n🎩",
            ),
        )
        yield _pair(task, index, (image, encode_lossless("target", photo(index))), examples)
    both = Example(
        direction="forward",
        kind="generate",
        inputs=("reference", "input"),
        output="target",
        instruction="Put the thing of the first into the second.",
    )
    images = (
        _jpeg(photo(2)),
        encode_lossless("reference", photo(3)),
        encode_lossless("mask", np.zeros_like(photo(2))),
        encode_lossless("target", photo(4)),
    )
    yield _pair(task, 2, images, (both,))
    alone = replace(both, inputs=(), instruction='A cat, and "nothing" else.')
    yield _pair(task, 3, (encode_lossless("target", photo(5)),), (alone,))


def _pair(task: str, index: int, images: tuple[Image, ...], examples: tuple[Example, ...]) -> Pair:
    ref = f"photo.png#{index}"
    return Pair(
        key=pair_key(task, ref, images[-1].data),
        source=SOURCE,
        source_ref=ref,
        licence=LICENCE,
        images=images,
        group=ref,
        examples=examples,
    )


def _jpeg(pixels: Pixels, exif: PILImage.Exif | None = None) -> Image:
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "JPEG", quality=90, exif=exif or PILImage.Exif())
    return stored("input", buffer.getvalue())
