"""The dry run: what a run would make and cost, from the plan and from a few items that are really made, in memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from manifests.schema import Direction, Kind, Pair
from operators.base import Reader
from pipelines.chain import make_pairs
from pipelines.plan import cut_units, list_items
from pipelines.report import console
from pipelines.tasks import Task
from pipelines.unit import WAITS

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
    made = make_pairs(reader, task.name, seed, sample, task.operators(reader))
    pairs = [pair for pair in made if isinstance(pair, Pair)]
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
    )


def print_estimate(task: Task, reader: Reader, estimated: Estimate) -> None:
    """The plan as a user reads it."""
    console.print(f"{task.name} from {reader.source} ({reader.licence})", soft_wrap=True, highlight=False)
    lines = {
        "items": f"{estimated.items:,}",
        "pairs": f"about {estimated.pairs:,} ({estimated.kept} of {estimated.sampled} sampled items were kept)",
        "examples": f"about {estimated.extrapolated(estimated.examples):,}",
        **{f"  {direction} {kind}": WAITS for direction, kind in estimated.missing},
        "shards": f"{estimated.shards:,}, about {estimated.pairs * estimated.bytes_per_pair / 2**20:,.1f} MiB",
        "model calls": "0",
        "CPU hours": f"{estimated.items * estimated.cpu_s_per_item / 3600:.3f}",
    }
    for name, value in lines.items():
        console.print(f"  {name:<20}{value}", highlight=False)
