"""The dry run: what a run would make and cost, from the plan and from a few items that are really made, in memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from manifests.schema import Direction, Item, Kind, Pair, seed_for
from operators.base import Reader
from operators.read_img2dataset import Img2Dataset
from pipelines.plan import cut_units, list_items
from pipelines.report import console
from pipelines.tasks import Task
from pipelines.unit import NOT_THE_PAIRS_FAULT, WAITS

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
    examples: Mapping[tuple[Direction, Kind], int]
    """Examples of the sampled pairs."""
    missing: Mapping[tuple[Direction, Kind], int]
    """Examples that the sampled pairs should have and do not get in this run."""
    left_out: Mapping[str, int]
    """Entries of the source that are no items by its own account, by reason."""

    @property
    def pairs(self) -> int:
        return round(self.items * self.kept / self.sampled)

    def extrapolated(self, counts: Mapping[tuple[Direction, Kind], int]) -> int:
        """Counts of the sample, for all items."""
        return round(sum(counts.values()) * self.items / self.sampled)


def estimate(task: Task, reader: Reader, seed: int, scale: float = 1.0) -> Estimate:
    """Make up to SAMPLE_ITEMS items of the source and extrapolate."""
    items = list_items(reader)
    units = list(cut_units(items, seed, task.pairs_per_shard, contiguous=reader.contiguous, scale=scale))
    sample = units[0][:SAMPLE_ITEMS]
    started_s = time.process_time()
    pairs = [pair for item in sample if (pair := _make(task, reader, item, seed)) is not None]
    sizes = [len(image.data) for pair in pairs for image in pair.images]
    return Estimate(
        items=sum(len(unit) for unit in units),
        shards=len(units),
        sampled=len(sample),
        kept=len(pairs),
        bytes_per_pair=sum(sizes) / len(pairs) if pairs else 0.0,
        cpu_s_per_item=(time.process_time() - started_s) / len(sample),
        examples=Counter((example.direction, example.kind) for pair in pairs for example in pair.examples),
        missing=Counter(example for pair in pairs for example in task.missing(pair)),
        left_out=reader.left_out(reader.listing()) if isinstance(reader, Img2Dataset) else {},
    )


def print_estimate(task: Task, reader: Reader, estimated: Estimate) -> None:
    """The plan as a user reads it."""
    console.print(f"{task.name} from {reader.source} ({reader.licence})", soft_wrap=True, highlight=False)
    lines = {
        "items": f"{estimated.items:,}",
        **{f"  {reason}": f"{count:,} left out" for reason, count in estimated.left_out.items()},
        "pairs": f"about {estimated.pairs:,} ({estimated.kept} of {estimated.sampled} sampled items were kept)",
        "examples": f"about {estimated.extrapolated(estimated.examples):,}",
        **{f"  {direction} {kind}": WAITS for direction, kind in estimated.missing},
        "shards": f"{estimated.shards:,}, about {estimated.pairs * estimated.bytes_per_pair / 2**20:,.1f} MiB",
        "model calls": "0",
        "CPU hours": f"{estimated.items * estimated.cpu_s_per_item / 3600:.3f}",
    }
    for name, value in lines.items():
        console.print(f"  {name:<20}{value}", highlight=False)


def _make(task: Task, reader: Reader, item: Item, seed: int) -> Pair | None:
    """The pair that an item becomes, None if it is rejected."""
    try:
        pair = reader.read(item, task.name)
        for operator in task.operators(reader):
            pair = operator(pair, seed_for(seed, pair.key, operator.name))
    except NOT_THE_PAIRS_FAULT:
        raise
    except Exception:  # a Reject, or what a run makes one of
        return None
    return pair
