"""A small dataset of what formats must tell apart: encodings, a turned image, several inputs, a mask, odd texts.

Pairs by number, two a unit, of 64 x 48 px, each with all four examples and the other pair of its unit in context:

    0   PNG
    1   input JPEG, target WebP
    2   two inputs, "input" and "reference", and a mask
    3   input JPEG that EXIF turns, target TIFF; an instruction that is Markdown, in two lines
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from manifests.dataset import Dataset, plan_table
from manifests.images.pixels import Pixels, stored
from manifests.schema import Example, Image, Item, Pair, Step, pair_key
from manifests.write.finish import finish
from manifests.write.writer import Context, UnitWriter
from tests.manifests.make import photo

PLAIN, ODD = "Let it rain.", "| Étés `a` <b>\n# 2"
BACK, ASKED, ANSWER = "Take away the rain.", "What has changed?", "It rains now."
LICENCES = ["CC0", "CC-BY-4.0"]
"""Of even and odd pairs."""


def make_mixed(url: Path | str, *, task: str = "mixed", units: int = 2) -> Dataset:
    dataset = Dataset(str(url))
    items = [[Item(ref=f"{n}", files=(f"{n}.png",)) for n in (2 * unit, 2 * unit + 1)] for unit in range(units)]
    plan = dataset.write_plan(task, {"seed": 0}, "0" * 64, plan_table(items))
    for unit, slice_ in enumerate(items):
        suffixes = dict.fromkeys(("input", "target", "reference", "mask"), "png")
        with UnitWriter.open(dataset, plan, unit, prototype_task="editing", suffixes=suffixes) as writer:
            for item in slice_:
                writer.add(_pair(task, int(item.ref)))
        first, second = (kept.pair.key for kept in writer.stored)
        contexts = {
            (kept.pair.key, example.direction, example.kind): Context(
                pair=second if kept.pair.key == first else first, method="seeded"
            )
            for kept in writer.stored
            for example in kept.pair.examples
        }
        writer.commit(contexts, len(contexts), {})
    finish(dataset, plan, versions={}, licences={"photos": LICENCES[0]})
    return dataset


def pixels(number: int, role: str) -> Pixels:
    """An upright picture. Those of JPEG are what Pillow makes of the file."""
    whole = photo(number)
    if role == "mask":
        return np.repeat(np.where(np.arange(64) < 20, 255, 0).astype(np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    plain = {"target": whole, "input": whole // 2, "reference": np.ascontiguousarray(whole[:, ::-1])}[role]
    if number % 4 in (1, 3) and role == "input":
        image = PILImage.open(io.BytesIO(encoded(number, role)))
        return np.asarray(image.transpose(PILImage.Transpose.ROTATE_270) if number % 4 == 3 else image)
    return plain


def encoded(number: int, role: str) -> bytes:
    """The file of a picture."""
    buffer = io.BytesIO()
    if number % 4 in (1, 3) and role == "input":
        image = PILImage.fromarray(photo(number) // 2)
        exif = PILImage.Exif()
        if number % 4 == 3:
            image = image.transpose(PILImage.Transpose.ROTATE_90)
            exif[0x0112] = 6
        image.save(buffer, "JPEG", quality=92, exif=exif)
    elif role == "mask":
        PILImage.fromarray(pixels(number, role)[..., 0]).save(buffer, "PNG")
    elif number % 4 == 1:
        PILImage.fromarray(pixels(number, role)).save(buffer, "WEBP", lossless=True)
    elif number % 4 == 3:
        PILImage.fromarray(pixels(number, role)).save(buffer, "TIFF")
    else:
        PILImage.fromarray(pixels(number, role)).save(buffer, "PNG")
    return buffer.getvalue()


def key(number: int, task: str = "mixed") -> str:
    return _pair(task, number).key


def _pair(task: str, number: int) -> Pair:
    inputs = ("input", "reference") if number % 4 == 2 else ("input",)
    roles = (*inputs, "target", *(("mask",) if number % 4 == 2 else ()))
    images: tuple[Image, ...] = tuple(stored(role, encoded(number, role)) for role in roles)
    say = ODD if number % 4 == 3 else PLAIN
    both = ("input", "target")
    return Pair(
        key=pair_key(task, str(number), *(image.data for image in images)),
        source="photos",
        source_ref=str(number),
        licence=LICENCES[number % 2],
        images=images,
        group=f"photo {number}",
        examples=(
            Example(direction="forward", kind="generate", inputs=inputs, output="target", instruction=say),
            Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction=BACK),
            Example(direction="forward", kind="describe", inputs=both, output=None, instruction=ASKED, text=ANSWER),
            Example(
                direction="reverse", kind="describe", inputs=both[::-1], output=None, instruction=ASKED, text="Dry."
            ),
        ),
        scores={"ssim": number / 10},
        steps=(Step(operator="gate", version=1),),
    )
