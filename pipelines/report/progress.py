"""What a run shows: a live line while it works and a report at its end. Whoever wants neither gives SILENT."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from manifests.write.finish import Totals
from operators.vlm.request import Usage
from pipelines.report.eta import Eta
from pipelines.report.hints import as_typed
from pipelines.report.prices import Prices
from pipelines.run.plan import Job
from pipelines.run.spent import Spent

if TYPE_CHECKING:
    from pipelines.run.engine import Made  # it imports Ray, which takes seconds

_LINE_EVERY_S = 10.0  # where the output is a log file and not a terminal

# A log file has no width of its own; tables need one in which they can be read. What is in brackets in a path or a
# licence is no markup.
TERMINAL = Console(markup=False, width=None if sys.stdout.isatty() else 140)

SILENT = Console(quiet=True)
"""Prints nothing: for datasets that are made from Python."""


class RunProgress:
    """Counts what a run has made and, on a console, keeps the live line up to date."""

    def __init__(self, shards: int, items: int, to: Console) -> None:
        """Begin to count for a run that makes so many shards out of so many items."""
        self.totals = Totals()
        self.usage = Usage()
        self.spent = Spent()
        self._shards = shards
        self._items = items
        self._to = to
        self._eta: Eta | None = None
        self._started_s = self._printed_s = time.monotonic()
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("shards  {task.fields[pairs]:,} pairs  {task.fields[rate]:.1f} pairs/s"),
            TextColumn("{task.fields[rejects]:,} rejects"),
            TimeElapsedColumn(),
            _Left(self),
        )
        self.line = Progress(*columns, console=to, disable=to.quiet or not to.is_terminal)
        self._task = self.line.add_task("", total=shards, pairs=0, rejects=0, rate=0.0)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_s

    @property
    def left(self) -> str:
        """The time left, in words."""
        left_s = self._eta.left_s(time.monotonic()) if self._eta else None
        return "estimating the time left" if left_s is None else f"{timedelta(seconds=round(left_s))} left"

    def begin(self, workers: int) -> None:
        """Take note that Ray is there, and that so many workers begin."""
        self._eta = Eta(self._items, self._shards, workers)
        self.say(f"{_counted(self._shards, 'shard')} on {_counted(workers, 'worker')} ...")

    def say(self, text: str) -> None:
        """Print a line above the live line."""
        self._to.print(text, highlight=False, soft_wrap=True)

    def add(self, made: Made) -> None:
        self.totals.add(made.commit)
        self.usage.add(made.usage)
        self.spent.add(made.spent)
        if self._eta:
            items = made.commit.pairs + sum(made.commit.rejects.values())
            self._eta.add(time.monotonic(), items, made.spent.units_s)
        pairs, rejects = self.totals.pairs, self.totals.rejects.total()
        rate = (pairs + rejects) / self.seconds
        self.line.update(self._task, advance=1, pairs=pairs, rejects=rejects, rate=rate)
        if not self._to.is_terminal and time.monotonic() - self._printed_s > _LINE_EVERY_S:
            self._printed_s = time.monotonic()
            self.say(
                f"{self.totals.units} of {_counted(self._shards, 'shard')} made, {pairs:,} pairs, {rate:.1f} pairs/s, "
                f"{rejects:,} rejects, {self.left}"
            )


class _Left(ProgressColumn):
    """The time left, which goes down between two shards too."""

    def __init__(self, run: RunProgress) -> None:
        super().__init__()
        self._run = run

    def render(self, task: Task) -> Text:
        return Text("" if task.finished else self._run.left)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


@contextmanager
def live(job: Job, shards: int, to: Console) -> Iterator[RunProgress]:
    """The live line of a run that makes so many shards of the job: shards, pairs, pairs/s, rejects, time left."""
    run = RunProgress(shards, round(job.plan.items * shards / job.plan.units), to)
    with run.line:
        yield run


def print_report(job: Job, totals: Totals, made: RunProgress, to: Console, prices: Prices | None = None) -> None:
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
        table.add_row("workers", f"{at_work:.1f} of them were busy on average; their time went to")
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
    to.print(table)
    for command in (as_typed("browse", job.out), as_typed("tokens", job.task.name, out=job.out.rpartition("/")[0])):
        to.print(f"next: {command}", highlight=False, soft_wrap=True)


def step_lines(spent: Spent) -> Iterator[str]:
    """A line a step: its share of the workers' time, how fast one worker is at it, how full its batches are."""
    if not spent.units_s:  # all units were committed by workers that died before they could report
        return
    for step, seconds in spent.seconds.items():
        items, batches = spent.items[step], spent.batches[step]
        together = f", {items / batches:.1f} in a batch" if items > batches else ""
        full = f", batches of its models {spent.own[step] / spent.places[step]:.0%} full" if spent.places[step] else ""
        yield f"{seconds / spent.units_s:4.0%} {step}: one worker does {items / seconds:,.1f} a second{together}{full}"
    yield f"{1 - sum(spent.seconds.values()) / spent.units_s:4.0%} choosing contexts, hashing and writing"
