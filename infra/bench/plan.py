"""Plans the paper's whole recipe, 7.01 million examples, from simulated listings: time, memory. `make bench` runs it.

No image is there and none is read. Everything else is what a run does before its first shard: items, their order, the
cut into work units, the fingerprint, plan.parquet. Each line of Tab. 6 and Tab. 7 is planned by `make_job` with as many
items as the paper has pairs; tasks that are not built yet borrow derain's record, whose plan looks the same.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from manifests.schema import Item, Pair
from operators.read.files import SourceFile
from pipelines.recipe import FULL_8M
from pipelines.run.plan import make_job
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.low_level import DERAIN


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A source of `count` paired files in Rain13K's layout, known by its listing alone."""

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    licence: ClassVar[str] = "none"
    root: ClassVar[str] = "memory://simulated"
    source: str
    count: int

    def listing(self) -> Sequence[SourceFile]:
        return ()

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        return self

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for number in range(self.count):
            files = (f"train/input/{number:08d}.jpg", f"train/target/{number:08d}.jpg")
            yield Item(ref=files[0], files=files, bytes=100_000 + number)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": "jpg", "target": "jpg"}

    def read(self, item: Item, task: str) -> Pair:
        raise NotImplementedError("a simulated source is planned, never read")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of each line (default: 1)")
    scale = parser.parse_args().scale
    print(f"{'task':<14}{'pairs':>10}{'examples':>11}{'units':>8}{'plan, MiB':>11}{'wall s':>8}{'peak RSS, MiB':>15}")
    pairs = examples = units = 0
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for entry in FULL_8M:
            began_s = time.perf_counter()
            reader = Listed(source=entry.source, count=entry.pairs)
            job = make_job(OUR_TASKS.get(entry.task, DERAIN), reader, f"{folder}/{entry.task}", seed=0, scale=scale)
            size_bytes = (Path(folder) / entry.task / "plan.parquet").stat().st_size
            _print_row(
                entry.task,
                (job.plan.items, job.plan.items * entry.factor, job.plan.units),
                size_bytes,
                time.perf_counter() - began_s,
            )
            pairs += job.plan.items
            examples += job.plan.items * entry.factor
            units += job.plan.units
    _print_row("sum", (pairs, examples, units), 0, time.perf_counter() - started_s)
    return 0


def _print_row(name: str, counts: tuple[int, int, int], size_bytes: int, wall_s: float) -> None:
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = f"{size_bytes / 2**20:.1f}" if size_bytes else ""
    pairs, examples, units = counts
    print(f"{name:<14}{pairs:>10,}{examples:>11,}{units:>8,}{size:>11}{wall_s:>8.1f}{peak_mib:>15,.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
