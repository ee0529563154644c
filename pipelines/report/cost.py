"""The sums of a plan: what runs would keep busy, write and ask for, and what that costs. Those of tasks add up.

`xprompt plan`, `xprompt recipe --plan` and `python -m infra.bench.scale` all have them from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import add

from rich.console import Console

from manifests.printing import size
from pipelines.report.estimate import Estimate
from pipelines.report.price_table import PriceTable
from pipelines.report.prices import Prices
from pipelines.report.requests import Requests, run_requests

VLM_S_PER_CALL = 1.5
"""An assumption, not a measurement: one 512 px pair described by Qwen2-VL-7B on an A100, batched."""

VLM = "vision-language model"
"""What answers, among the models that keep GPUs busy."""

_BUCKETS = ("s3://", "s3a://")
"""Where requests are counted: what gcsfs asks of Google is another matter."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What some runs come to. Bounds from above where models make the pictures; see `Estimate`."""

    units: int = 0
    pairs: int = 0
    examples: int = 0
    gpu_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of an A100 by model: each operator's own figure, which is assumed, and VLM_S_PER_CALL."""
    cpu_s: float = 0.0
    """Seconds of a core of this machine, measured on a sample; 0 for what painters make."""
    calls: int = 0
    """How often, at most, a vision-language model is asked."""
    tokens_in: int = 0
    tokens_out: int = 0
    shard_bytes: float = 0.0
    table_bytes: float = 0.0
    """Manifests, rejects and small pictures of rejects."""
    token_bytes: float = 0.0
    """What `xprompt tokens` would add."""
    requests: Requests = field(default_factory=Requests)
    """Those of a bucket, if OUT is one."""

    def __add__(self, other: Sums) -> Sums:
        names = [one.name for one in fields(self) if one.name != "gpu_s"]
        both = {name: getattr(self, name) + getattr(other, name) for name in names}
        models = dict.fromkeys((*self.gpu_s, *other.gpu_s))
        return Sums(gpu_s={one: self.gpu_s.get(one, 0.0) + other.gpu_s.get(one, 0.0) for one in models}, **both)

    @property
    def gpu_hours(self) -> float:
        return sum(self.gpu_s.values()) / 3600

    @property
    def bytes(self) -> float:
        """What lies in OUT in the end, tokens included."""
        return self.shard_bytes + self.table_bytes + self.token_bytes


def sums(estimated: Estimate, out: str) -> Sums:
    """What the run that is estimated comes to, if it writes to `out`."""
    written, pairs, units = estimated.written, estimated.pairs, estimated.shards
    calls = estimated.for_all(estimated.calls)
    gpu_s = {model: seconds * estimated.items for model, seconds in estimated.gpu_s.items()}
    shard_bytes = pairs * written.shard_a_pair
    return Sums(
        units=units,
        pairs=pairs,
        examples=estimated.extrapolated(estimated.examples),
        gpu_s={**gpu_s, **({VLM: VLM_S_PER_CALL * calls} if calls else {})},
        cpu_s=estimated.items * estimated.cpu_s_per_item,
        calls=calls,
        tokens_in=estimated.for_all(estimated.tokens_in),
        tokens_out=estimated.for_all(estimated.tokens_out),
        shard_bytes=shard_bytes,
        table_bytes=units * written.tables_a_unit + pairs * written.tables_a_pair,
        token_bytes=pairs * written.tokens_a_pair,
        requests=run_requests(units, shard_bytes / units) if out.startswith(_BUCKETS) else Requests(),
    )


def total(of: Iterable[Sums]) -> Sums:
    """The sums of several runs."""
    return reduce(add, of, Sums())


def costs(of: Sums, table: PriceTable, prices: Prices | None = None) -> dict[str, float]:
    """What it costs, by what is paid for. A month's storage is of a bucket, wherever OUT is now.

    With `prices`, those of a million tokens, the vision-language model is paid for by them, and not by GPU hours.
    """
    gpu_s = sum(seconds for model, seconds in of.gpu_s.items() if not (prices and model == VLM))
    found = {
        "GPUs": gpu_s / 3600 * table.gpu_hour.price,
        "CPUs": of.cpu_s / 3600 * table.cpu_hour.price,
        "tokens of the model": prices.cost(of.tokens_in, of.tokens_out) if prices else 0.0,
        "a month in a bucket": of.bytes / 1e9 * table.gb_month.price,
        "requests": (of.requests.writes * table.thousand_writes.price + of.requests.reads * table.thousand_reads.price)
        / 1000,
    }
    return {name: cost for name, cost in found.items() if cost}


def print_sums(of: Sums, table: PriceTable, console: Console, prices: Prices | None = None) -> None:
    """The sums as a user reads them."""
    for name, value in sum_lines(of, table, prices):
        console.print(f"  {name:<20}{value}", highlight=False, soft_wrap=True)


def sum_lines(of: Sums, table: PriceTable, prices: Prices | None = None) -> Iterator[tuple[str, str]]:
    """The lines of a plan, head and text."""
    yield (
        "bytes",
        (
            f"{size(of.shard_bytes)} of shards, {size(of.table_bytes)} of manifests and rejects, "
            f"{size(of.token_bytes)} of tokens if xprompt tokens makes them"
        ),
    )
    if of.gpu_s:
        shares = ", ".join(f"{seconds / 3600:,.2f} {model}" for model, seconds in of.gpu_s.items())
        yield "GPU hours", f"{of.gpu_hours:,.1f} of an A100 (assumed, not measured): {shares}"
    if asked := of.requests.all:
        kinds = f"{of.requests.writes:,} PUT, POST and LIST, {of.requests.reads:,} GET and HEAD"
        yield "S3 requests", f"about {asked:,}: {kinds}"
    paid = costs(of, table, prices)
    parts = ", ".join(f"{cost:,.2f} {name}" for name, cost in paid.items())
    yield "cost", f"about {sum(paid.values()):,.2f} {table.currency}: {parts}"
    yield "", f"by {table.file}, prices of {table.dates}"
