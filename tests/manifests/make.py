"""Makes a small dataset of real photos through the public contract, whole or unit by unit.

Each unit has `pairs` pairs of 64 x 48 px and one reject. Pairs have all four examples, and the previous pair of
their shard as the in-context example.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import skimage.data

from manifests.dataset import Dataset, Plan, plan_table
from manifests.images.pixels import Pixels, encode_lossless
from manifests.images.small import small
from manifests.schema import Candidate, Example, Item, Pair, Reject, Step, pair_key
from manifests.write.finish import finish
from manifests.write.reject_pictures import SIDES
from manifests.write.writer import Context, UnitWriter

SOURCE = "scikit-image photos"
LICENCE = "CC0"
VERSIONS = {"pillow": "0"}
SUFFIXES = {"input": "png", "target": "png"}
WIDTH_PX, HEIGHT_PX = 64, 48


def make_dataset(
    url: str,
    *,
    task: str = "derain",
    units: int = 3,
    pairs: int = 4,
    candidates: bool = False,
    pictures: bool = False,
    first: int = 0,
    split: str = "",
) -> Dataset:
    """A finished dataset at a path or URL, with or without candidates and pictures of rejects beside it."""
    dataset = Dataset(url)
    plan = make_plan(dataset, task=task, units=units, pairs=pairs, first=first, split=split)
    for unit in range(units):
        write_unit(dataset, plan, unit, candidates=candidates, pictures=pictures)
    finish_dataset(dataset, plan)
    return dataset


def make_plan(
    dataset: Dataset, *, task: str = "derain", units: int = 3, pairs: int = 4, first: int = 0, split: str = ""
) -> Plan:
    """Plan `pairs` pairs and one reject for each unit, of photos from the `first` on, as a split if one is named."""
    size = pairs + 1
    items = [
        [Item(ref=f"photo.png#{index}", files=("photo.png",), index=index) for index in range(start, start + size)]
        for start in range(first, first + units * size, size)
    ]
    source = {"source": {"split": split}} if split else {}
    return dataset.write_plan(task, {"task": task, "seed": 0, **source}, "f" * 64, plan_table(items))


def write_unit(
    dataset: Dataset, plan: Plan, unit: int, *, candidates: bool = False, pictures: bool = False
) -> UnitWriter:
    """Write and commit one unit of a plan by `make_plan`; its last item is rejected. With `candidates` each pair has
    three, of which the second won, and so has the item that is rejected, of which none won. With `pictures` that item
    has those of a darkened photo and the photo."""
    *kept, bad = dataset.unit(plan, unit).items
    with UnitWriter.open(dataset, plan, unit, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        for item in kept:
            pair = make_pair(plan.task, item)
            writer.add(replace(pair, candidates=candidates_of(pair.key, won=1) if candidates else ()))
        lost = candidates_of(pair_key(plan.task, bad.ref), won=None) if candidates else ()
        seen = [small(side, image.data) for side, image in zip(SIDES, make_pair(plan.task, bad).images, strict=True)]
        why = Reject("truncated", "it cannot be decoded to its end", {"psnr": 1.0}, lost)
        writer.reject(bad, SOURCE, "read", why, seen if pictures else ())
    keys = [stored.pair.key for stored in writer.stored]
    contexts = {
        (key, example.direction, example.kind): Context(pair=keys[position - 1], method="seeded")
        for position, key in enumerate(keys)
        for example in _examples()
    }
    writer.commit(contexts, len(contexts), {})
    return writer


def finish_dataset(dataset: Dataset, plan: Plan) -> None:
    finish(dataset, plan, versions=VERSIONS, licences={SOURCE: LICENCE})


def make_pair(task: str, item: Item) -> Pair:
    """A darkened photo and the photo."""
    target = photo(item.index)
    images = (encode_lossless("input", target // 2), encode_lossless("target", target))
    return Pair(
        key=pair_key(task, item.ref, images[1].data),
        source=SOURCE,
        source_ref=item.ref,
        licence=LICENCE,
        images=images,
        group=f"photo {item.index % 2}",
        examples=tuple(_examples()),
        scores={"mean_abs_diff": item.index / 10},
        steps=(Step(operator="rain", version=1, params={"angle_deg": 12.5}, seed=item.index),),
    )


def candidates_of(pair: str, *, won: int | None) -> tuple[Candidate, ...]:
    """Three photos, of which one has won, or none."""
    return tuple(
        Candidate(
            pair=pair,
            image=encode_lossless("target", photo(number)),
            step=Step(
                operator="paint",
                version=1,
                params={"part": "kontext"},
                seed=number,
                model="flux",
                model_revision="main",
                prompt="a hat",
            ),
            scores={"ssim": number / 10},
            reason=None if number else "low_ssim",
            won=number == won,
        )
        for number in range(3)
    )


def photo(index: int) -> Pixels:
    """The index-th crop of two photos."""
    whole = _photos()[index % 2]
    left_px, top_px = index * 7 % (whole.shape[1] - WIDTH_PX), index * 5 % (whole.shape[0] - HEIGHT_PX)
    return np.ascontiguousarray(whole[top_px : top_px + HEIGHT_PX, left_px : left_px + WIDTH_PX])


@lru_cache(maxsize=1)
def _photos() -> tuple[Pixels, Pixels]:
    return skimage.data.chelsea(), skimage.data.coffee()


def _examples() -> Iterator[Example]:
    remove, draw = "Take away the rain — vollständig.", "Let it rain."
    yield Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction=remove)
    yield Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction=draw)
    for direction, inputs, text in (
        ("forward", ("input", "target"), "The rain is gone."),
        ("reverse", ("target", "input"), "It rains now."),
    ):
        yield Example(
            direction=direction,  # type: ignore[arg-type]  # a Literal in a tuple
            kind="describe",
            inputs=inputs,
            output=None,
            instruction="What has changed?",
            text=text,
        )
