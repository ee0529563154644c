"""Small datasets of edits, written through the public contract: each has an instruction of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from manifests.dataset import Dataset, Plan, plan_table
from manifests.images.pixels import encode_lossless
from manifests.schema import Direction, Example, Item, Kind, Pair, pair_key
from manifests.write.finish import finish
from manifests.write.writer import Context, UnitWriter

GENERATE: tuple[tuple[Direction, Kind], ...] = (("forward", "generate"), ("reverse", "generate"))
DESCRIBE: tuple[tuple[Direction, Kind], ...] = (("forward", "describe"), ("reverse", "describe"))


def make_edits(
    folder: Path, texts: list[str], *, finished: bool = True, key_task: str | None = None, split: str = ""
) -> Dataset:
    """A dataset of edits in shards of three, with seeded contexts; two edits of each picture; of a test `split`, if
    there is a name of one."""
    dataset = Dataset(str(folder))
    items = [Item(ref=f"{number}", files=("edits.parquet",), index=number) for number in range(len(texts))]
    units = [items[start : start + 3] for start in range(0, len(items), 3)]
    fingerprint = hashlib.sha256("\n".join([folder.name, *texts]).encode()).hexdigest()
    plan = dataset.write_plan(
        folder.name, {"seed": 0, **({"source": {"split": split}} if split else {})}, fingerprint, plan_table(units)
    )
    for unit in range(plan.units):
        _write(dataset, plan, unit, texts, key_task or plan.task)
    if finished:
        finish(dataset, plan, versions={}, licences={"edits": "CC0"})
    return dataset


def _write(dataset: Dataset, plan: Plan, unit: int, texts: list[str], key_task: str) -> None:
    with UnitWriter.open(
        dataset, plan, unit, prototype_task="editing", suffixes={"input": "png", "target": "png"}
    ) as writer:
        for item in dataset.unit(plan, unit).items:
            pixels = np.full((8, 8, 3), item.index, np.uint8)
            writer.add(
                Pair(
                    key=pair_key(key_task, item.ref),
                    source="edits",
                    source_ref=item.ref,
                    licence="CC0",
                    images=(encode_lossless("input", pixels), encode_lossless("target", pixels + 9)),
                    group=f"photo {item.index // 2}",
                    examples=tuple(_examples(texts[item.index], last=item.index == len(texts) - 1)),
                )
            )
    pairs = [stored.pair for stored in writer.stored]
    contexts = {
        (pair.key, example.direction, example.kind): Context(pair=pairs[number - 1].key, method="seeded")
        for number, pair in enumerate(pairs)
        for example in pair.examples
        if len(pairs) > 1 and example in _generating(pairs[number - 1], example)
    }
    writer.commit(contexts, sum(len(pair.examples) for pair in pairs), {})


def _generating(other: Pair, example: Example) -> list[Example]:
    """The example itself, if the other pair has one of its direction and kind."""
    kinds = {(there.direction, there.kind) for there in other.examples}
    return [example] if (example.direction, example.kind) in kinds else []


def _examples(text: str, *, last: bool) -> Iterator[Example]:
    for direction, kind in GENERATE if last else GENERATE + DESCRIBE:
        there, back = ("input", "target") if direction == "forward" else ("target", "input")
        describe = kind == "describe"
        yield Example(
            direction=direction,
            kind=kind,
            inputs=(there, back) if describe else (there,),
            output=None if describe else back,
            instruction="What was edited?" if describe else text if direction == "forward" else f"undo: {text}",
            text=text if describe else None,
        )
