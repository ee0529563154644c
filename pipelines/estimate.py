"""The dry run: what a run would make and cost, from the plan and from a few items that are really made, in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass

from manifests.schema import Item, Reject, seed_for
from operators.base import Reader
from pipelines.plan import cut_units
from pipelines.report import console
from pipelines.tasks import Task

SAMPLE_ITEMS = 16
"""Items made to estimate bytes and time from. The first few pay for caches, so more are better."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Extrapolated from `sampled` items, of which `kept` became pairs."""

    items: int
    shards: int
    sampled: int
    kept: int
    bytes_per_pair: float
    cpu_s_per_item: float

    @property
    def pairs(self) -> int:
        return round(self.items * self.kept / self.sampled)


def estimate(task: Task, reader: Reader, seed: int) -> Estimate:
    """Make up to SAMPLE_ITEMS items of the source and extrapolate."""
    items = list(reader.items(reader.listing()))
    if not items:
        raise ValueError(f"DATA: {reader.root} holds nothing to read")
    units = list(cut_units(items, seed, task.pairs_per_shard))
    sample = units[0][:SAMPLE_ITEMS]
    started_s = time.process_time()
    sizes = [size for item in sample if (size := _make(task, reader, item, seed)) is not None]
    return Estimate(
        items=len(items),
        shards=len(units),
        sampled=len(sample),
        kept=len(sizes),
        bytes_per_pair=sum(sizes) / len(sizes) if sizes else 0.0,
        cpu_s_per_item=(time.process_time() - started_s) / len(sample),
    )


def print_estimate(task: Task, reader: Reader, estimated: Estimate) -> None:
    """The plan as a user reads it."""
    waiting = task.waiting(reader)
    console.print(f"{task.name} from {reader.source} ({reader.licence})", soft_wrap=True, highlight=False)
    lines = {
        "items": f"{estimated.items:,}",
        "pairs": f"about {estimated.pairs:,} ({estimated.kept} of {estimated.sampled} sampled items were kept)",
        "examples": f"about {estimated.pairs * (len(task.examples) - len(waiting)):,}",
        **{f"  {direction} {kind}": reason for (direction, kind), reason in waiting.items()},
        "shards": f"{estimated.shards:,}, about {estimated.pairs * estimated.bytes_per_pair / 2**20:,.1f} MiB",
        "model calls": "0",
        "CPU hours": f"{estimated.items * estimated.cpu_s_per_item / 3600:.3f}",
    }
    for name, value in lines.items():
        console.print(f"  {name:<18}{value}", highlight=False)


def _make(task: Task, reader: Reader, item: Item, seed: int) -> int | None:
    """Bytes of the images of the pair that an item becomes, None if it is rejected."""
    try:
        pair = reader.read(item, task.name)
        for operator in task.operators(reader):
            pair = operator(pair, seed_for(seed, pair.key, operator.name))
    except Reject:
        return None
    return sum(len(image.data) for image in pair.images)
