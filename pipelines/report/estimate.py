"""The dry run: what a run would make and cost, from the plan and from a few items that are really made, in memory.

Where models paint the pictures, none is made: that would take minutes on a GPU, and hours without. What then cannot be
known is a bound, or an assumption that is named as one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console

from manifests.schema import Direction, Item, Kind, Pair, Reject, seed_for
from operators.base import Link, LoadsCheckpoints, ModelOperator, Reader, Selective
from operators.vlm.client import Asks, Promising
from operators.vlm.request import Request
from operators.vlm.showing import tokens_in
from pipelines.report.memory import PLAN_GPU_GIB, Fit, fit, fit_lines
from pipelines.report.written import Written, assumed, written
from pipelines.run.chain import make_pairs
from pipelines.run.plan import list_items, units_of
from pipelines.run.spent import Spent
from pipelines.run.unit import WAITS
from pipelines.tasks.task import Task

SAMPLE_ITEMS = 16
"""Items made to estimate bytes and time from. The first few pay for caches, so more are better."""

PAINTING_GPU_S = 1.0
"""What an operator takes, from which on it is not tried out."""

_PAINTED_BYTES = 2**20  # assumed of a picture that is not made: 512 px are about half of it, 1,024 px twice as much


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Extrapolated from `sampled` items, of which `kept` became pairs, or would if nothing rejected them."""

    tried: bool = True
    """Whether the sample was made. If not, pairs, examples, calls and bytes are upper bounds, and tokens not known."""
    there: int
    """How many items the source has, whatever part of them is taken."""
    items: int
    shards: int
    sampled: int
    kept: int
    written: Written
    """What pairs take on a disk."""
    cpu_s_per_item: float
    gpu_s: Mapping[str, float] = field(default_factory=dict)
    """How many seconds of an A100 a pair takes, by what takes them, as the operators assume."""
    examples: Mapping[tuple[Direction, Kind], int]
    """How many examples the sampled pairs have."""
    missing: Mapping[tuple[Direction, Kind], int]
    """How many examples the sampled pairs should have and do not get in this run."""
    left_out: Mapping[str, int]
    """How many entries of the source are no items by its own account, by reason."""
    calls: int = 0
    """How often, at most, a vision-language model is asked for the sampled pairs."""
    tokens_in: float = 0.0
    """How many tokens these calls send: a quarter of the characters, and image tokens as Qwen2-VL counts them."""
    tokens_out: int = 0
    """How many tokens, at most, the model answers to these calls."""
    gpu: Fit | None = None
    """How the models fit into the memory of a GPU; None if none of them runs on one."""

    @property
    def gpu_s_per_pair(self) -> float:
        return sum(self.gpu_s.values())

    @property
    def pairs(self) -> int:
        return round(self.items * self.kept / self.sampled)

    def extrapolated(self, counts: Mapping[tuple[Direction, Kind], int]) -> int:
        """Counts of the sample, for all items."""
        return self.for_all(sum(counts.values()))

    def for_all(self, in_sample: float) -> int:
        return round(in_sample * self.items / self.sampled)


def estimate(
    task: Task,
    reader: Reader,
    seed: int,
    scale: float = 1.0,
    gpu_gib: float | None = None,
    *,
    count: int | None = None,
    skip: int = 0,
) -> Estimate:
    """Make up to SAMPLE_ITEMS items of the source and extrapolate. No vision-language model is asked.

    `gpu_gib` is the memory of a GPU that the plan is for (default: PLAN_GPU_GIB). `scale`, `count` and `skip` keep a
    part of the items, as `units_of` does.
    """
    items = list_items(reader)
    units = list(units_of(task, reader, items, seed, scale=scale, count=count, skip=skip))
    sample = units[0][:SAMPLE_ITEMS]
    chain = task.operators(reader)
    gpu = fit(chain, gpu_gib or PLAN_GPU_GIB)
    asking = [link for link in chain if isinstance(link, Asks) and link.vlm]
    gpu_s = gpu_seconds(chain)
    if max(gpu_s.values(), default=0.0) >= PAINTING_GPU_S:
        calls = len(sample) * sum(link.calls for link in asking)
        return replace(_untried(task, reader, len(items), units, len(sample), gpu_s, calls), gpu=gpu)
    started_s = time.process_time()
    made = make_pairs(reader, task.name, seed, sample, [link for link in chain if link not in asking], Spent())
    pairs = [pair for pair in made if isinstance(pair, Pair)]
    requests = [request for pair in pairs for link in asking for request in _requests(link, pair, seed)]
    missing = Counter(example for pair in pairs for example in task.missing(pair))
    promises = [link.promised for link in chain if isinstance(link, Promising)]
    completed = Counter(example for pair in pairs for promised in promises for example in promised(pair))
    took_s = time.process_time() - started_s
    return Estimate(
        there=len(items),
        items=sum(len(unit) for unit in units),
        shards=len(units),
        sampled=len(sample),
        kept=len(pairs),
        written=written(task, reader, seed, sample, made),
        cpu_s_per_item=took_s / len(sample),
        gpu_s=gpu_s,
        examples=Counter((example.direction, example.kind) for pair in pairs for example in pair.examples) + completed,
        missing=missing - completed,
        calls=len(requests),
        tokens_in=sum(tokens_in(request) for request in requests),
        tokens_out=sum(request.max_tokens for request in requests),
        left_out=reader.left_out(reader.listing()) if isinstance(reader, Selective) else {},
        gpu=gpu,
    )


def gpu_seconds(chain: Sequence[Link]) -> dict[str, float]:
    """Seconds of an A100 that a pair takes at the operators that run models, by name, with the checkpoints of each."""
    found: dict[str, float] = {}
    for link in chain:
        if isinstance(link, ModelOperator) and link.gpu_s:
            loads = ", ".join(link.loads) if isinstance(link, LoadsCheckpoints) else ""
            name = f"{link.name} ({loads})" if loads else link.name
            found[name] = found.get(name, 0.0) + link.gpu_s
    return found


def _untried(
    task: Task,
    reader: Reader,
    there: int,
    units: Sequence[Sequence[Item]],
    sampled: int,
    gpu_s: Mapping[str, float],
    calls: int,
) -> Estimate:
    """What can be said of items of which no picture is made."""
    return Estimate(
        tried=False,
        there=there,
        items=sum(len(unit) for unit in units),
        shards=len(units),
        sampled=sampled,
        kept=sampled,
        written=assumed(_PAINTED_BYTES, len(reader.suffixes(units[0]))),
        cpu_s_per_item=0.0,
        gpu_s=gpu_s,
        examples=dict.fromkeys(task.examples, sampled),
        missing={},
        left_out={},
        calls=calls,
    )


def _requests(link: Asks, pair: Pair, seed: int) -> Sequence[Request]:
    try:
        return link.requests(pair, seed_for(seed, pair.key, link.name))
    except Reject:
        return ()


def print_estimate(task: Task, reader: Reader, estimated: Estimate, taken_as: str, console: Console) -> None:
    """What would be made, as a user reads it. `taken_as` says what DATA was taken for."""
    console.print(f"{task.name}: {reader.source} ({taken_as}; {reader.licence})", soft_wrap=True, highlight=False)
    lines = {
        "items": f"{estimated.items:,}",
        **{f"  {reason}": f"{count:,} left out" for reason, count in estimated.left_out.items()},
        **(_tried(estimated) if estimated.tried else _bounds(estimated)),
        "model calls": f"at most {estimated.for_all(estimated.calls):,} to {task.vlm.model}" if task.vlm else "0",
        **({"tokens": _tokens(estimated)} if task.vlm and estimated.tried else {}),
    }
    for name, value in [*lines.items(), *(fit_lines(estimated.gpu) if estimated.gpu else [])]:
        console.print(f"  {name:<20}{value}", highlight=False, soft_wrap=True)


def _tried(estimated: Estimate) -> dict[str, str]:
    return {
        "pairs": f"about {estimated.pairs:,} ({estimated.kept} of {estimated.sampled} sampled items were kept)",
        "examples": f"about {estimated.extrapolated(estimated.examples):,}",
        **{f"  {direction} {kind}": WAITS for direction, kind in estimated.missing},
        "shards": f"{estimated.shards:,}",
        "CPU hours": f"{estimated.items * estimated.cpu_s_per_item / 3600:.3f}",
    }


def _bounds(estimated: Estimate) -> dict[str, str]:
    return {
        "pairs": f"at most {estimated.pairs:,}: what is kept is not known before models have made the pictures",
        "examples": f"at most {estimated.extrapolated(estimated.examples):,}",
        "shards": f"{estimated.shards:,}, at 1 MiB a picture (assumed)",
    }


def _tokens(estimated: Estimate) -> str:
    asked_in, asked_out = estimated.for_all(estimated.tokens_in), estimated.for_all(estimated.tokens_out)
    return f"about {asked_in:,} in, at most {asked_out:,} out"
