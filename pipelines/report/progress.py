"""What a run shows: a live line while it works, a report at its end, and the plan before it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from manifests.write.finish import Totals
from operators.vlm.request import Usage
from pipelines.report.hints import as_typed
from pipelines.report.prices import Prices
from pipelines.run.engine import Made
from pipelines.run.plan import Job
from pipelines.run.spent import Spent

_LINE_EVERY_S = 10.0  # where the output is a log file and not a terminal

# A log file has no width of its own; tables need one in which they can be read. What is in brackets in a path or a
# licence is no markup.
TERMINAL = Console(markup=False, width=None if sys.stdout.isatty() else 140)

SILENT = Console(quiet=True)
"""Prints nothing: for datasets that are made from Python."""


class RunProgress:
    """Counts what a run has made and keeps the live line up to date."""

    def __init__(self, progress: Progress, shards: int, console: Console) -> None:
        self._console = console
        self.totals = Totals()
        self.usage = Usage()
        self.spent = Spent()
        self._progress = progress
        self._task = progress.add_task("", total=shards, pairs=0, rejects=0, rate=0.0)
        self._started_s = self._printed_s = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_s

    def add(self, made: Made) -> None:
        self.totals.add(made.commit)
        self.usage.add(made.usage)
        self.spent.add(made.spent)
        pairs, rejects = self.totals.pairs, self.totals.rejects.total()
        rate = (pairs + rejects) / self.seconds
        self._progress.update(self._task, advance=1, pairs=pairs, rejects=rejects, rate=rate)
        if not self._console.is_terminal and time.monotonic() - self._printed_s > _LINE_EVERY_S:
            self._printed_s = time.monotonic()
            left = self._progress.tasks[self._task].remaining or 0
            eta_s = self.seconds / self.totals.units * left
            self._console.print(
                f"{self.totals.units} shards made, {left:.0f} left, {pairs:,} pairs, {rate:.1f} pairs/s, "
                f"{rejects:,} rejects, ETA {eta_s:.0f} s"
            )


@contextmanager
def live(shards: int, console: Console) -> Iterator[RunProgress]:
    """The live line: shards, pairs, pairs/s, rejects, time left."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("shards  {task.fields[pairs]:,} pairs  {task.fields[rate]:.1f} pairs/s"),
        TextColumn("{task.fields[rejects]:,} rejects"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield RunProgress(progress, shards, console)


def print_report(job: Job, totals: Totals, made: RunProgress, console: Console, prices: Prices | None = None) -> None:
    """The run report: what the dataset holds, what was left out and why, and how fast it went."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("pairs", f"{totals.pairs:,}")
    for kind, count in sorted(totals.examples.items()):
        table.add_row("", f"{count:,} examples: {kind}")
    for kind, count in sorted(totals.missing.items()):
        table.add_row("not made", f"{count:,} examples: {kind}")
    if totals.without_context:
        table.add_row("no context", f"{totals.without_context:,} examples: no other pair in their shard")
    table.add_row("rejected", f"{totals.rejects.total():,} items")
    for reason, count in sorted(totals.rejects.items()):
        table.add_row("", f"{count:,} {reason}")
    table.add_row("shards", f"{totals.units:,}, {totals.bytes / 2**20:,.1f} MiB")
    if made.totals.units:
        rate = (made.totals.pairs + made.totals.rejects.total()) / made.seconds
        table.add_row("this run", f"{made.totals.units:,} shards in {made.seconds:.1f} s, {rate:.1f} pairs/s")
        at_work = made.spent.units_s / made.seconds  # of this time the start of Ray takes some seconds
        table.add_row("workers", f"{at_work:.1f} at work on average, of whose time")
        for line in step_lines(made.spent):
            table.add_row("", line)
    else:
        table.add_row("this run", "nothing left to do")
    if job.task.vlm:
        asked = made.usage
        table.add_row("model calls", f"{asked.calls:,} to {job.task.vlm.model}, {asked.retries:,} retries")
        table.add_row("", f"{asked.replayed:,} more answered from {job.out}/responses")
        cost = f", cost {prices.cost(asked.tokens_in, asked.tokens_out):,.2f}" if prices else ""
        table.add_row("tokens", f"{asked.tokens_in:,} in, {asked.tokens_out:,} out{cost}")
    console.print(table)
    console.print(f"next: {as_typed('browse', job.out)}", highlight=False, soft_wrap=True)
    console.print(
        f"      {as_typed('tokens', job.task.name, out=job.out.rpartition('/')[0])}", highlight=False, soft_wrap=True
    )


def step_lines(spent: Spent) -> Iterator[str]:
    """A line a step: its share of the workers' time, how many items a second a worker takes through it, in batches."""
    if not spent.units_s:  # all units were committed by workers that died before they could report
        return
    for step, seconds in spent.seconds.items():
        items, batches = spent.items[step], spent.batches[step]
        together = f", {items / batches:.1f} at a time" if items > batches else ""
        full = f", its models' batches {spent.own[step] / spent.places[step]:.0%} full" if spent.places[step] else ""
        yield f"{seconds / spent.units_s:4.0%} {step}: {items / seconds:,.1f}/s a worker{together}{full}"
    yield f"{1 - sum(spent.seconds.values()) / spent.units_s:4.0%} to hash, to choose contexts and to write"
