"""The plan of a recipe as a table: its datasets line by line, what each is made of and lacks, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from pipelines.entries import Planned
from pipelines.recipe import FULL_8M, PAPER_EXAMPLES, PAPER_PAIRS
from pipelines.report.estimate import Estimate
from pipelines.report.memory import fit_table
from pipelines.report.prices import Prices

VLM_S_PER_CALL = 1.5
"""An assumption, not a measurement: one 512 px pair described by Qwen2-VL-7B on an A100, batched."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One line of the recipe: what it is made of, how much of that is there, and the estimate if it can be made."""

    planned: Planned
    there: int = 0
    """How many pairs the source has, whatever part of them is taken."""
    estimate: Estimate | None = None

    @property
    def pairs(self) -> int:
        return self.estimate.pairs if self.estimate else 0

    @property
    def examples(self) -> int:
        return self.estimate.extrapolated(self.estimate.examples) if self.estimate else 0

    @property
    def model_calls(self) -> int:
        """Calls of a vision-language model: the run's, or those for what waits for one, a call a pair (C.1)."""
        if self.estimate is None:
            return 0
        waits = any(self.estimate.missing.values())
        return self.estimate.for_all(self.estimate.calls) or (self.pairs if waits else 0)

    @property
    def tokens(self) -> tuple[int, int]:
        """Of the run's calls: about how many in, and at most how many out."""
        known = self.estimate
        return (known.for_all(known.tokens_in), known.for_all(known.tokens_out)) if known else (0, 0)

    @property
    def gpu_hours(self) -> float:
        operators_s = self.estimate.items * self.estimate.gpu_s_per_pair if self.estimate else 0.0
        return (operators_s + VLM_S_PER_CALL * self.model_calls) / 3600


def print_forecast(
    lines: Sequence[Forecast], sources: Mapping[str, str], console: Console, prices: Prices | None = None
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
    table.add_row(
        "sum",
        "",
        f"{sum(line.planned.entry.pairs for line in lines):,}",
        "",
        f"{sum(line.pairs for line in lines):,}",
        "",
        f"{sum(line.examples for line in lines):,}",
        f"{sum(_gib(line) for line in lines):,.1f}",
        f"{sum(line.model_calls for line in lines):,}",
        f"{sum(line.gpu_hours for line in lines):,.1f}",
        f"{sum(_cpu_hours(line) for line in lines):,.1f}",
    )
    console.print(table)
    fits = {line.planned.task.name: line.estimate.gpu for line in lines if line.estimate and line.estimate.gpu}
    if fits:
        console.print(fit_table(fits))
    for note in _notes(lines):
        console.print(note, highlight=False, soft_wrap=True)
    asked_in, asked_out = (sum(line.tokens[way] for line in lines) for way in (0, 1))
    if asked_in:
        cost = f", cost at most {prices.cost(asked_in, asked_out):,.2f}" if prices else ""
        console.print(f"Tokens: about {asked_in:,} in, at most {asked_out:,} out{cost}.", highlight=False)
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
    taken = [f"{line.pairs:,}", str(entry.factor), f"{line.examples:,}", f"{_gib(line):,.1f}", f"{line.model_calls:,}"]
    return [*counts, *taken, f"{line.gpu_hours:,.1f}", f"{_cpu_hours(line):,.2f}"]


def _gib(line: Forecast) -> float:
    return line.pairs * line.estimate.bytes_per_pair / 2**30 if line.estimate else 0.0


def _cpu_hours(line: Forecast) -> float:
    return line.estimate.items * line.estimate.cpu_s_per_item / 3600 if line.estimate else 0.0
