"""What a run shows: a live line while it works and a report at its end. Whoever wants neither gives SILENT."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
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

from manifests.printing import counted
from manifests.write.finish import Totals
from operators.vlm.request import Usage
from pipelines.report.eta import Eta
from pipelines.report.hints import as_typed
from pipelines.report.prices import Prices
from pipelines.report.terminal import is_live, tell
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.watch import Painting, Watch

if TYPE_CHECKING:
    from pipelines.run.made import Made
    from pipelines.run.painter import Delivered

_LINE_EVERY_S = 10.0  # where the output is a log file and not a terminal


@dataclass(kw_only=True)
class Tally:
    """What a run has made of one dataset."""

    totals: Totals = field(default_factory=Totals)
    usage: Usage = field(default_factory=Usage)
    spent: Spent = field(default_factory=Spent)
    paintings: list[Painting] = field(default_factory=list)
    """What its painters have done, stage by stage."""
    seconds: float = 0.0
    """From the beginning of the run to the last of the dataset's shards."""


class RunProgress:
    """Counts what a run has made and, on a console, keeps the live line up to date."""

    def __init__(self, shards: int, items: int, to: Console) -> None:
        """Begin to count for a run that makes so many shards out of so many items."""
        self._tallies: dict[str, Tally] = {}
        self._shards = shards
        self._items = items
        self._to = to
        self._eta: Eta | None = None
        self._paintings: Sequence[Painting] = ()
        self._units = self._pairs = self._rejects = 0
        self._started_s = self._printed_s = time.monotonic()
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("shards  {task.fields[pairs]:,} pairs  {task.fields[rate]:.1f} pairs/s"),
            TextColumn("{task.fields[rejects]:,} rejects"),
            TimeElapsedColumn(),
            _Left(self),
        )
        self.line = _Live(self, *columns, console=to, disable=to.quiet or not is_live(to))
        self._task = self.line.add_task("", total=shards, pairs=0, rejects=0, rate=0.0)

    @property
    def watch(self) -> Watch:
        """What a run is given to tell."""
        return Watch(
            on_start=self.begin,
            on_made=self.add,
            on_delivered=self.delivered,
            on_stall=self.stalled,
            on_tick=self.tick,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_s

    @property
    def left(self) -> str:
        """The time left, in words."""
        return "estimating the time left" if self._left_s is None else f"{timedelta(seconds=round(self._left_s))} left"

    @property
    def _left_s(self) -> float | None:
        at_pairs = self._eta and not self._paintings
        return self._eta.left_s(time.monotonic()) if self._eta and at_pairs else self._painting_left_s()

    @property
    def painting(self) -> list[str]:
        """A line for each stage that has painters at work, or that has asked for some and has none."""
        return [_painting_line(one) for one in self._at_work]

    @property
    def _at_work(self) -> list[Painting]:
        return [one for one in self._paintings if one.painters or (one.pairs_left and one.starting)]

    def tally(self, job: Job) -> Tally:
        """What has been made of a dataset so far."""
        return self._tallies.setdefault(job.out, Tally())

    def begin(self, workers: int) -> None:
        """Take note that Ray is there, and that so many workers begin."""
        self._eta = Eta(self._items, self._shards, workers)
        text = f"{counted(self._shards, 'shard')} on {counted(workers, 'worker')} ..."
        tell(self._to, "start", text, units=self._shards, workers=workers)

    def stalled(self, text: str) -> None:
        """Say above the live line that nothing comes back."""
        tell(self._to, "stall", text, level="warning")

    def add(self, job: Job, made: Made) -> None:
        """Take note of a shard."""
        tally = self.tally(job)
        tally.totals.add(made.commit)
        tally.usage.add(made.usage)
        tally.spent.add(made.spent)
        tally.seconds = self.seconds
        self._units += 1
        self._pairs += made.commit.pairs
        self._rejects += sum(made.commit.rejects.values())
        if self._eta:
            items = made.commit.pairs + sum(made.commit.rejects.values())
            self._eta.add(time.monotonic(), items, made.spent.units_s)
        self.line.update(self._task, advance=1, pairs=self._pairs, rejects=self._rejects, rate=self._rate)
        rejects = dict(made.commit.rejects)
        name = job.plan.name(made.commit.unit)
        counts: dict[str, Any] = {"pairs": made.commit.pairs, "rejects": rejects, "bytes": made.commit.shard_bytes}
        tell(self._to, "unit", f"{name} is made", only_json=True, task=job.task.name, unit=name, **counts)
        self._say_sometimes()

    def delivered(self, job: Job, delivered: Delivered) -> None:
        """Take note of pairs that a painter has done."""
        tally = self.tally(job)
        tally.usage.add(delivered.usage)
        tally.spent.add(delivered.spent)

    def tick(self, paintings: Sequence[Painting]) -> None:
        """Take note of how far painters are."""
        self._paintings = paintings
        for painting in paintings:
            self.tally(painting.job).paintings = [one for one in paintings if one.job is painting.job]
        if paintings:
            self._say_sometimes()

    @property
    def _rate(self) -> float:
        return (self._pairs + self._rejects) / self.seconds

    def _painting_left_s(self) -> float | None:
        """Seconds for which painters have work left, by what they did so far. They go to whoever has work.

        None until each stage that has work left has done some.
        """
        working = sum(one.painters * (one.gpus or 1.0) for one in self._paintings)
        left = [one for one in self._paintings if one.pairs_left]
        if not working or not all(one.pairs for one in left):
            return None
        return sum(one.pairs_left * one.up_s / one.pairs * (one.gpus or 1.0) for one in left) / working

    def _say_sometimes(self) -> None:
        if is_live(self._to) or time.monotonic() - self._printed_s <= _LINE_EVERY_S:
            return
        self._printed_s = time.monotonic()
        tell(
            self._to,
            "progress",
            f"{self._units} of {counted(self._shards, 'shard')} made, {self._pairs:,} pairs, "
            f"{self._rate:.1f} pairs/s, {self._rejects:,} rejects, {self.left}",
            units_made=self._units,
            units=self._shards,
            pairs=self._pairs,
            pairs_per_s=self._rate,
            rejects=self._rejects,
            left_s=self._left_s,
        )
        for one in self._at_work:
            tell(
                self._to,
                "painters",
                f"  {_painting_line(one)}",
                task=one.job.task.name,
                operators=one.operators,
                painters=one.painters,
                pairs=one.pairs,
                pairs_left=one.pairs_left,
                pictures=one.pictures,
                lost=one.lost,
                held_s=one.held_s,
                gpu_s=one.gpu_s,
            )


class _Live(Progress):
    """The live line, and below it a line for each stage that has painters at work, cut off at the terminal's edge."""

    def __init__(self, run: RunProgress, *columns: ProgressColumn, console: Console, disable: bool) -> None:
        self._run = run
        super().__init__(*columns, console=console, disable=disable)

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        for text in self._run.painting:
            yield Text(f"  {text}", no_wrap=True, overflow="ellipsis")


class _Left(ProgressColumn):
    """The time left, which goes down between two shards too."""

    def __init__(self, run: RunProgress) -> None:
        super().__init__()
        self._run = run

    def render(self, task: Task) -> Text:
        return Text("" if task.finished else self._run.left)


@contextmanager
def live(works: Sequence[tuple[Job, int]], to: Console) -> Iterator[RunProgress]:
    """The live line of a run that makes so many shards of each dataset: shards, pairs, pairs/s, rejects, time left."""
    items = sum(round(job.plan.items * shards / job.plan.units) for job, shards in works)
    run = RunProgress(sum(shards for _, shards in works), items, to)
    with run.line:
        yield run


def _painting_line(painting: Painting) -> str:
    return f"{painting.job.task.name}: {', '.join(painting_lines(painting))}"


def painting_lines(painting: Painting) -> list[str]:
    """What the painters of a stage have done; then, once a pair is done, how busy they were and what they waited for.

    The rate is of all painters that are at work, or of one of them where none is any more.
    """
    done = [counted(painting.painters, "painter")] if painting.painters else []
    if painting.starting and not painting.painters:
        done.append("no painter yet, it waits for a GPU" if painting.gpus else "no painter yet")
    done.append(f"{painting.pairs:,} pairs done" + (f", {painting.pairs_left:,} left" if painting.pairs_left else ""))
    busy = []
    if painting.pairs:
        made, noun = (painting.pictures, "pictures") if painting.pictures else (painting.pairs, "pairs")
        an_hour = 3_600 * made / painting.up_s * (painting.painters or 1)
        done.append(f"{an_hour:,.0f} {noun} an hour" + ("" if painting.painters else " a painter"))
        busy.append(f"{painting.gpu_s / painting.held_s:.0%} busy{_waits(painting)}")
    if painting.places:
        busy.append(f"batches {painting.own / painting.places:.0%} full")
    if painting.lost:
        busy.append(f"{counted(painting.lost, 'pair')} begun again, since painters died")
    doing = " + ".join(painting.operators) or "pairs one by one"  # of units at which workers died
    lines = [f"{doing}: {', '.join(done)}", ", ".join(busy)]
    return [line for line in lines if line]


_WAITS = {
    "answers_s": "waited for answers",
    "disk_s": "waited for images to be read and stored",
    "loading_s": "loaded models",
    "starting_s": "started",
    "idle_s": "had nothing to do",
}
"""What a painter does that does not paint: the field of Painting, and words for it."""


def _waits(painting: Painting) -> str:
    """What painters did with the rest of their time, the longest first, as far as it is a percent or more."""
    shares = {words: getattr(painting, name) / painting.held_s for name, words in _WAITS.items()}
    told = [f"{share:.0%} {words}" for words, share in sorted(shares.items(), key=lambda one: -one[1]) if share >= 0.01]
    return f" ({', '.join(told)})" if told else ""


def print_report(job: Job, totals: Totals, made: Tally, to: Console, prices: Prices | None = None) -> None:
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
        table.add_row("this run", f"{counted(made.totals.units, 'shard')} in {made.seconds:.1f} s, {rate:.1f} pairs/s")
        at_work = made.spent.units_s / made.seconds  # of this time the start of Ray takes some seconds
        table.add_row("workers", f"{at_work:.1f} of them were busy on average; their time went to")
        for line in step_lines(made.spent):
            table.add_row("", line)
        for painting in made.paintings:
            for heading, line in zip(("painters", ""), painting_lines(painting), strict=False):
                table.add_row(heading, line)
    else:
        table.add_row("this run", "nothing left to do")
    if job.task.vlm:
        asked = made.usage
        table.add_row("model calls", f"{asked.calls:,} to {job.task.vlm.model}, {asked.retries:,} retries")
        table.add_row("", f"{asked.replayed:,} more answered from {job.out}/responses")
        cost = f", cost {prices.cost(asked.tokens_in, asked.tokens_out):,.2f}" if prices else ""
        table.add_row("tokens", f"{asked.tokens_in:,} in, {asked.tokens_out:,} out{cost}")
    tell(
        to, "report", table, task=job.task.name, seconds=made.seconds, units_made=made.totals.units, **totals.as_json()
    )
    folder, _, name = job.out.rpartition("/")
    for command in (as_typed("browse", job.out), *([as_typed("tokens", name, out=folder)] if totals.pairs else [])):
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
