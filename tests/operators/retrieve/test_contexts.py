"""Ranked in-context examples of datasets: what leaks is planted, and never chosen."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from manifests.dataset import Dataset, DatasetError, plan_table
from manifests.images.evaluation import hash_folder
from manifests.images.phash import distance, phash
from manifests.images.pixels import Pixels, stored
from manifests.schema import Example, Item, Pair, Step, canonical_json
from manifests.verify.dataset import verify
from manifests.write.finish import finish
from manifests.write.writer import UnitWriter
from operators.retrieve import contexts
from operators.retrieve.contexts import By, Choosing, assign_ranked, main
from tests.datasets import examples, sha256_by_file
from tests.operators.words import Words
from tests.persons import make_persons

HONEST = ["honest 1", "honest 2", "honest 3"]
"""What is left for the pair that is asked for, in whichever way it is chosen."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """A pair of a dataset that is made here."""

    name: str
    image: bytes
    target: bytes
    group: str
    text: str = "remove the cat"
    style: str = "Cubism"
    key: str | None = None
    inputs: int = 1


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def picture(seed: int) -> Pixels:
    """64 x 64 with blocks of colour: hashes of two are some 32 bits apart."""
    small = np.random.default_rng(seed).integers(0, 200, (8, 8, 3))
    return np.kron(small, np.ones((8, 8, 1), np.int64)).astype(np.uint8)


def flat(level: int) -> bytes:
    return png(np.full((64, 64, 3), level, np.uint8))


def told(name: str, seed: int, group: str, text: str = "remove the cat", style: str = "Cubism") -> Told:
    return Told(
        name=name, image=png(picture(seed)), target=png(picture(seed + 100)), group=group, text=text, style=style
    )


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def make(
    folder: Path, pairs: Sequence[Told], *, split: str = "", config: Mapping[str, object] | None = None, shard: int = 4
) -> Dataset:
    """A finished dataset of these pairs, in their order."""
    dataset = Dataset(str(folder))
    items = [Item(ref=pair.name, files=(pair.name,), index=number) for number, pair in enumerate(pairs)]
    units = [items[start : start + shard] for start in range(0, len(items), shard)]
    whole = {"seed": 0, **({"source": {"split": split}} if split else {}), **(config or {})}
    fingerprint = hashlib.sha256(canonical_json([folder.name, [pair.name for pair in pairs]]).encode()).hexdigest()
    plan = dataset.write_plan(folder.name, whole, fingerprint, plan_table(units))
    by_name = {pair.name: pair for pair in pairs}
    for unit in range(plan.units):
        suffixes = {"input": "png", "input_2": "png", "target": "png", "mask": "png"}
        with UnitWriter.open(dataset, plan, unit, prototype_task="editing", suffixes=suffixes) as writer:
            for item in dataset.unit(plan, unit).items:
                writer.add(pair_of(by_name[item.ref]))
        writer.commit({}, 2 * len(writer.stored), {})
    finish(dataset, plan, versions={}, licences={"edits": "CC0"})
    return dataset


def pair_of(one: Told) -> Pair:
    images = [stored("input", one.image), stored("target", one.target), stored("mask", png(picture(999)))]
    if one.inputs == 2:
        images.append(stored("input_2", png(picture(777 + len(one.name)))))
    inputs = ("input", "input_2")[: one.inputs]
    return Pair(
        key=key_of(one.key or one.name),
        source="edits",
        source_ref=one.name,
        licence="CC0",
        images=tuple(images),
        group=one.group,
        examples=(
            Example(direction="forward", kind="generate", inputs=inputs, output="target", instruction=one.text),
            Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction="undo it"),
        ),
        steps=(Step(operator="style_prompts", version=1, params={"style": one.style}),),
    )


def chosen(dataset: Dataset) -> dict[tuple[str, str], list[tuple[str, str | None, float | None]]]:
    """By name and direction of each example the ranked names, places and scores."""
    return {
        (row["source_ref"], row["direction"]): [(one["pair"], one["dataset"], one["score"]) for one in row["contexts"]]
        for row in examples(dataset)
    }


def names(dataset: Dataset, *others: Dataset) -> dict[str, str]:
    return {row["pair"]: row["source_ref"] for one in (*others, dataset) for row in examples(one)}


def planted() -> tuple[list[Told], list[Told]]:
    """The pairs of two datasets: what "asked" may be shown, and every kind of leak. A brighter, a smaller and a copied
    version of its image are the nearest by image, and all have its very instruction."""
    asked = told("asked", 1, "photo 1")
    brighter = png(np.clip(picture(1).astype(int) + 9, 0, 255).astype(np.uint8))
    smaller = png(np.asarray(PILImage.fromarray(picture(1)).resize((48, 48), PILImage.Resampling.LANCZOS)))
    assert {distance(phash(asked.image) or "", phash(near) or "") for near in (brighter, smaller)} <= {0, 1, 2, 3, 4}
    here = [
        asked,
        told("same group", 2, "photo 1"),
        replace(told("near input", 3, "photo 3"), image=brighter),
        replace(told("near target", 4, "photo 4"), target=smaller),
        told("evaluation", 5, "photo 5"),
        told("honest 1", 6, "photo 6"),
        told("honest 2", 7, "photo 7", text="remove the small cat"),
        replace(told("flat", 8, "photo 8"), image=flat(3), target=flat(9)),
    ]
    there = [
        replace(asked, name="copy", group="elsewhere"),
        replace(asked, name="swapped", group="elsewhere 2", image=asked.target, target=asked.image),
        replace(told("same key", 9, "elsewhere 3"), key="asked"),
        told("honest 3", 10, "photo 10"),
        replace(told("flat copy", 11, "photo 11"), image=flat(9), target=flat(3)),
        replace(told("two inputs", 12, "photo 12"), inputs=2),
    ]
    return here, there


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dataset, Dataset, str]]:
    """Both datasets, and a guard file of an evaluation set, whose image was cut at an edge and saved as a JPEG."""
    root = tmp_path_factory.mktemp("planted")
    here, there = planted()
    (root / "evaluation").mkdir()
    PILImage.fromarray(picture(5)).resize((80, 80)).save(root / "evaluation/1.jpg", quality=95)
    hash_folder(str(root / "evaluation"), "bench", str(root / "guard.parquet"))
    yield make(root / "here", here), make(root / "there", there), str(root / "guard.parquet")


@pytest.mark.parametrize("by", By)
@pytest.mark.parametrize("k", [1, 2, 16])
def test_what_leaks_is_never_chosen(data: tuple[Dataset, Dataset, str], by: By, k: int) -> None:
    here, there, guard = data
    choosing = Choosing(k=k, by=by, texts=Words(), guard=guard)
    report = assign_ranked(here, here.plan(), choosing, databases=[there, here])
    known, found = names(here, there), chosen(here)
    for direction in ("forward", "reverse"):
        ranked = [known[pair] for pair, _, _ in found["asked", direction]]
        more = {"flat", "two inputs"} if direction == "reverse" else {"flat"}
        allowed = {*HONEST, *more}
        # The flat pair and its copy are one: of two that are the same, one is offered, that of the lower key.
        ranked = ["flat" if name == "flat copy" else name for name in ranked]
        assert set(ranked) <= allowed and len(ranked) == len(set(ranked)) == min(k, len(allowed))
        flats = {known[pair] for pair, _, _ in found["flat", direction]}
        assert not flats & {"flat", "flat copy", "evaluation"}
    for name, direction in found:
        assert "evaluation" not in {known[pair] for pair, _, _ in found[name, direction]}
    places = {place for of in found.values() for _, place, _ in of}
    assert places <= {None, "there"}
    assert report.left_out["with an image of an evaluation set"] == 1
    if k == 16 and by not in (By.SEEDED, By.GROUP):
        assert all(report.passed.values()), "each guard had something to do"
    assert list(verify(here.url)) == []
