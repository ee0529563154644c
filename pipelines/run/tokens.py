"""Adds token shards to a finished dataset: `make tokens`. A unit is what one worker does at a time, as for shards."""

from __future__ import annotations

import itertools
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from manifests.dataset import Dataset, Plan
from manifests.printing import counted
from manifests.tokens import TokenizerRecord, committed_tokens, refuse_other_tokenizer, token_commit, token_folder
from operators import tokenize
from operators.timeouts import tokenizing
from pipelines.report.hints import as_typed
from pipelines.report.terminal import tell
from pipelines.run import engine
from pipelines.run.dataset import Stopped
from pipelines.run.hanging import watched
from pipelines.run.nothing import NothingKept
from pipelines.run.stalls import Stall, look

UNIT_RETRIES = 2
"""How often a unit is tried again whose worker died, before it is tried alone."""

_LINE_EVERY_S = 10.0
_TICK_S = 1.0


def make_tokens(
    out: str,
    models: str,
    session: Callable[[], AbstractContextManager[None]],
    console: Console,
    pixels: int = 0,
) -> None:
    """Tokenize what is not tokenized yet. `out` is the dataset's URL. `pixels` is as `token_folder` has it.

    `session` gives a Ray, if one is needed. Raises DatasetError if the dataset is unfinished or holds tokens of another
    tokenizer, ValueError if `models` holds none, engine.UnitFailed if a unit cannot be tokenized, and NothingKept if
    the dataset has no examples, or not one of them got tokens.
    """
    dataset = Dataset(out)
    plan = dataset.plan()
    if not dataset.description()["totals"]["examples"]:  # which says if it is unfinished
        raise NothingKept(f"{out} has no examples: all of its items were rejected. Make it anew (xprompt shards)")
    folder = Path(models, tokenize.FOLDER).resolve()
    if not folder.is_dir():
        raise ValueError(f"MODELS={models} has no {tokenize.FOLDER}/: try small random weights, make tiny-models")
    record = tokenize.Tokenizer(folder).at(pixels)
    refuse_other_tokenizer(dataset, plan, record, pixels)
    done = committed_tokens(dataset, plan, pixels)
    pending = sorted(set(range(plan.units)) - done)
    side = f"{record.resolution_px} px, {record.codes:,} codes"
    tell(
        console,
        "plan",
        f"{plan.task}: tokens of {counted(plan.units, 'shard')} by {folder} ({side})"
        + (f", {len(done):,} of them there already" if done else ""),
        task=plan.task,
        out=out,
        units=plan.units,
        units_done=len(done),
    )
    try:
        if pending:
            with session():
                _run(out, plan, folder, record, pixels, pending, console)
    except KeyboardInterrupt:
        done = committed_tokens(dataset, plan, pixels)
        raise Stopped(
            f"Stopped: {len(done):,} of {plan.units:,} are finished and kept. The same command goes on from there."
        ) from None
    dataset.store.remove_temporary(token_folder(pixels))
    _refuse_empty(dataset, plan, pixels)
    tell(console, "message", f"next: {as_typed('train')}, or {as_typed('verify', out)}")


def _refuse_empty(dataset: Dataset, plan: Plan, pixels: int) -> None:
    """Raises NothingKept if no example has tokens. Shards are looked into only if some texts have none."""
    rejects: Counter[str] = Counter()
    for name in map(plan.name, range(plan.units)):
        commit = token_commit(dataset, name, pixels)
        if commit.pairs and (not commit.rejects or _has_examples(dataset, name, pixels)):
            return
        rejects.update(commit.rejects)
    ((reason, count),) = rejects.most_common(1)
    raise NothingKept(
        f"{dataset.url}/{token_folder(pixels)}: no example has tokens, {count:,} texts were left out as {reason}; see "
        f"{token_folder(pixels)}/*.rejects.parquet, and remove that folder to tokenize anew"
    )


def _has_examples(dataset: Dataset, name: str, pixels: int) -> bool:
    """Whether any pair of a token shard has an example."""
    with dataset.store.open(f"{token_folder(pixels)}/{name}.tar") as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            if member.name.endswith(".json") and (data := tar.extractfile(member)) and json.load(data)["examples"]:
                return True
    return False


def _run(
    out: str,
    plan: Plan,
    folder: Path,
    record: TokenizerRecord,
    pixels: int,
    pending: list[int],
    console: Console,
) -> None:
    started_s = printed_s = time.monotonic()
    pairs = size = made = 0
    rejects: Counter[str] = Counter()

    def begin(tokenized: Any, unit: int) -> Any:
        return tokenized.remote(out, unit, folder, record, pixels)

    stall = Stall(lambda text: tell(console, "stall", text, level="warning"))
    for commit in _each(pending, begin, stall):
        made, pairs, size = made + 1, pairs + commit["pairs"], size + commit["shard_bytes"]
        rejects.update(commit["rejects"])
        name = plan.name(commit["unit"])
        counts: dict[str, Any] = {
            "pairs": commit["pairs"],
            "rejects": dict(commit["rejects"]),
            "bytes": commit["shard_bytes"],
        }
        tell(console, "unit", f"{name} has tokens", only_json=True, task=plan.task, unit=name, **counts)
        if time.monotonic() - printed_s > _LINE_EVERY_S:
            printed_s = time.monotonic()
            eta_s = (printed_s - started_s) / made * (len(pending) - made)
            tell(
                console,
                "progress",
                f"{counted(made, 'shard')} made, {len(pending) - made} left, {pairs:,} pairs, ETA {eta_s:.0f} s",
                task=plan.task,
                units_made=made,
                units=len(pending),
                pairs=pairs,
                left_s=eta_s,
            )
    for unit in sorted(set(pending) - committed_tokens(Dataset(out), plan, pixels)):
        _try_alone(out, plan, unit, folder, record, pixels, stall)
    seconds = time.monotonic() - started_s
    if rejects:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejects.most_common())
        tell(
            console,
            "left_out",
            f"left out  texts without tokens, and their examples: {reasons} ({token_folder(pixels)}/*.rejects.parquet)",
            task=plan.task,
            rejects=dict(rejects),
        )
    tell(
        console,
        "report",
        f"this run  {counted(len(pending), 'shard')}, {size / 2**20:.1f} MiB, in {seconds:.1f} s, "
        f"{pairs / seconds:.1f} pairs/s",
        task=plan.task,
        units_made=len(pending),
        bytes=size,
        seconds=seconds,
        pairs=pairs,
    )


def _each(units: list[int], begin: Callable[[Any, int], Any], stall: Stall) -> Iterator[dict[str, Any]]:
    """What `_tokenize`, which `begin` is given as a task, returns for each unit, as it arrives.

    A unit that fails is left out. Processes are kept from one task to the next, and with them their tokenizer.
    """
    resources = ray.cluster_resources()
    gpus = tokenize.GPUS if resources.get("GPU") else 0.0
    workers = int(resources["GPU"] / gpus if gpus else resources["CPU"])
    # A decorator with arguments: Ray takes no max_calls later.
    tokenized: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_calls=0, max_retries=UNIT_RETRIES)(_tokenize)
    waiting, running = iter(units), set[Any]()
    while True:
        running |= {begin(tokenized, unit) for unit in itertools.islice(waiting, max(1, workers) + 2 - len(running))}
        if not running:
            return
        for ref in _ended(running, stall):
            running.discard(ref)
            with suppress(RayError):
                yield ray.get(ref)


def _ended(running: Collection[Any], stall: Stall) -> list[Any]:
    """Those of some tasks that have come to an end. It waits for one; of a stopped process the task has ended."""
    stall.heard()
    while True:
        ready, _ = ray.wait([*running], num_returns=1, timeout=_TICK_S)
        if ready:
            return list(ready)
        if stall.is_due(lambda: f"{len(running):,} tasks"):
            look()


def _try_alone(
    out: str, plan: Plan, unit: int, folder: Path, record: TokenizerRecord, pixels: int, stall: Stall
) -> None:
    """One more attempt at a unit that failed, for its reason. Raises engine.UnitFailed."""
    attempt: Any = ray.remote(max_retries=0)(_tokenize)
    try:
        (ended,) = _ended([attempt.remote(out, unit, folder, record, pixels)], stall)
        ray.get(ended)
    except RayTaskError as error:
        raise engine.UnitFailed(f"tokens of shard {plan.name(unit)}: {error.cause}") from error
    except RayError as error:
        raise engine.UnitFailed(f"tokens of shard {plan.name(unit)}: its worker died: {error}") from error


def _tokenize(out: str, unit: int, folder: Path, record: TokenizerRecord, pixels: int) -> dict[str, Any]:
    """Runs in a worker, which keeps its tokenizer. Raises ValueError if it is not the one that the run began with."""
    dataset = Dataset(out)
    plan = dataset.plan()
    with watched(tokenizing(dataset.commit(plan.name(unit)).pairs)):
        tokenizer = tokenize.load_tokenizer(folder)
        if tokenizer.at(pixels) != record:
            raise ValueError(f"{folder} has changed, or holds another tokenizer on this machine")
        return vars(tokenize.tokenize_unit(dataset, plan, unit, tokenizer, pixels))
