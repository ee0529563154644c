"""The plan of a recipe as a table: its datasets line by line, what each is made of and lacks, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from pipelines.entries import Planned
from pipelines.recipe import FULL_8M, PAPER_EXAMPLES, PAPER_PAIRS
from pipelines.report.cost import VLM_S_PER_CALL, Sums, print_sums, sums, total
from pipelines.report.estimate import Estimate
from pipelines.report.memory import fit_table
from pipelines.report.price_table import PriceTable
from pipelines.report.prices import Prices


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One line of the recipe: what it is made of, how much of that is there, and the estimate if it can be made."""

    planned: Planned
    there: int = 0
    """How many pairs the source has, whatever part of them is taken."""
    estimate: Estimate | None = None

    out: str = ""
    """Where the datasets would be written to."""

    @property
    def sums(self) -> Sums:
        """What the run comes to; nothing if it cannot be made."""
        return sums(self.estimate, self.out) if self.estimate else Sums()

    @property
    def waiting(self) -> int:
        """How many calls of a vision-language model the examples that wait for one would take, one a pair (C.1)."""
        known = self.estimate
        return known.pairs if known and any(known.missing.values()) and not known.calls else 0


def print_forecast(
    lines: Sequence[Forecast],
    sources: Mapping[str, str],
    console: Console,
    costs: PriceTable,
    prices: Prices | None = None,
) -> None:
    """The state of each source, the table, its sums, and why they are not the paper's 8 million."""
    width = max(map(len, sources), default=0) + 2
    for source, state in sources.items():
        console.print(f"{source:<{width}}{state}", highlight=False, soft_wrap=True)
    table = Table("task", "made of", box=None)
    for heading in ("wanted", "there", "taken", "x", "examples", "GiB", "model calls", "GPU h", "CPU h"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(line.planned.task.name, line.planned.place or "nothing", *_numbers(line))
    table.add_section()
    of_all = total(line.sums for line in lines)
    wanted = f"{sum(line.planned.entry.pairs for line in lines):,}"
    table.add_row("sum", "", wanted, "", f"{of_all.pairs:,}", "", *_summed(of_all))
    console.print(table)
    fits = {line.planned.task.name: line.estimate.gpu for line in lines if line.estimate and line.estimate.gpu}
    if fits:
        console.print(fit_table(fits))
    for note in _notes(lines):
        console.print(note, highlight=False, soft_wrap=True)
    if of_all.tokens_in:
        asked = f"about {of_all.tokens_in:,} in, at most {of_all.tokens_out:,} out"
        console.print(f"Tokens: {asked}.", highlight=False)
    print_sums(of_all, costs, console, prices)
    if waiting := sum(line.waiting for line in lines):
        console.print(
            f"Examples wait for a vision-language model: it would be asked {waiting:,} times, which is "
            f"{waiting * VLM_S_PER_CALL / 3600:,.1f} GPU hours more.",
            highlight=False,
            soft_wrap=True,
        )
    if [line.planned.entry.task for line in lines] == [entry.task for entry in FULL_8M]:
        pairs, examples = (sum(getattr(entry, what) for entry in FULL_8M) for what in ("pairs", "examples"))
        console.print(
            f"The paper speaks of about {PAPER_PAIRS:,} pairs and {PAPER_EXAMPLES:,} examples; its own tables, which "
            f"are reproduced here, add up to {pairs:,} and {examples:,}. Where a source as published has fewer pairs "
            "than the table says, the authors cut it into more (crops of DFWB and GoPro) or do not say how they "
            "counted (LOL).",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        f"GPU hours are of an A100 and rest on assumptions: {VLM_S_PER_CALL} s a model call, and what each operator "
        "says of itself (gpu_s). Where models make the pictures, pairs and GiB are upper bounds.",
        highlight=False,
        soft_wrap=True,
    )


def _notes(lines: Sequence[Forecast]) -> Iterator[str]:
    """Which datasets are left out, and which have fewer pairs than the recipe wants, a line each."""
    for line in lines:
        planned, wanted = line.planned, line.planned.entry.pairs
        if planned.why_not:
            yield f"{planned.task.name}: left out, {planned.why_not}"
        elif line.there < wanted:
            unpainted = "" if planned.paints else " without models to make more"
            yield f"{planned.task.name}: {line.there:,} of {wanted:,} pairs, all that there are{unpainted}"


def _numbers(line: Forecast) -> list[str]:
    entry = line.planned.entry
    counts = [f"{entry.pairs:,}" if entry.pairs else "all", f"{line.there:,}"]
    if line.estimate is None:
        return [*counts, "0", str(entry.factor), "", "", "", "", ""]
    return [*counts, f"{line.sums.pairs:,}", str(entry.factor), *_summed(line.sums)]


def _summed(of: Sums) -> list[str]:
    """The columns of a table from the examples on."""
    made = [f"{of.examples:,}", f"{of.bytes / 2**30:,.2f}", f"{of.calls:,}"]
    return [*made, f"{of.gpu_hours:,.1f}", f"{of.cpu_s / 3600:,.2f}"]
