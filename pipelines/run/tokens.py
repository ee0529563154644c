"""Adds token shards to a finished dataset: `make tokens`. A unit is what one worker does at a time, as for shards."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from manifests.dataset import Dataset, Plan
from manifests.tokens import FOLDER, TokenizerRecord, committed_tokens, refuse_other_tokenizer
from operators import tokenize
from pipelines.report.progress import console
from pipelines.run import engine
from pipelines.run.dataset import STOPPED

_LINE_EVERY_S = 10.0


def make_tokens(out: str, models: str, session: Callable[[], AbstractContextManager[None]]) -> int:
    """Tokenize what is not tokenized yet; returns the exit status. `out` is the dataset's URL.

    `session` gives a Ray, if one is needed. Raises DatasetError if the dataset is unfinished or holds tokens of another
    tokenizer, ValueError if `models` holds none, engine.UnitFailed if a unit cannot be tokenized.
    """
    dataset = Dataset(out)
    plan = dataset.plan()
    dataset.description()  # says if it is unfinished
    folder = Path(models, tokenize.FOLDER).resolve()
    if not folder.is_dir():
        raise ValueError(f"MODELS={models} has no {tokenize.FOLDER}/: try small random weights, make tiny-models")
    record = tokenize.Tokenizer(folder).record
    refuse_other_tokenizer(dataset, plan, record)
    done = committed_tokens(dataset, plan)
    pending = sorted(set(range(plan.units)) - done)
    side = f"{record.resolution_px} px, {record.codes:,} codes"
    _say(
        f"{plan.task}: tokens of {plan.units:,} shards by {folder} ({side})"
        + (f", {len(done):,} of them there already" if done else "")
    )
    try:
        if pending:
            with session():
                _run(out, plan, folder, record, pending)
    except KeyboardInterrupt:
        done = committed_tokens(dataset, plan)
        _say(f"Stopped: {len(done):,} of {plan.units:,} are finished and kept. The same command goes on from there.")
        return STOPPED
    dataset.store.remove_temporary(FOLDER)
    return 0


def _run(out: str, plan: Plan, folder: Path, record: TokenizerRecord, pending: list[int]) -> None:
    started_s = printed_s = time.monotonic()
    pairs = size = made = 0

    def make(unit: int) -> dict[str, Any]:
        return {"commit": _tokenize(out, unit, folder, record)}

    with closing(engine.map_units(pending, make, tokenize.GPUS)) as rows:
        for row in rows:
            made, pairs, size = made + 1, pairs + row["commit"]["pairs"], size + row["commit"]["shard_bytes"]
            if time.monotonic() - printed_s > _LINE_EVERY_S:
                printed_s = time.monotonic()
                eta_s = (printed_s - started_s) / made * (len(pending) - made)
                _say(f"{made} shards made, {len(pending) - made} left, {pairs:,} pairs, ETA {eta_s:.0f} s")
    for unit in sorted(set(pending) - committed_tokens(Dataset(out), plan)):
        _try_alone(out, plan, unit, folder, record)
    seconds = time.monotonic() - started_s
    _say(
        f"this run  {len(pending):,} shards, {size / 2**20:.1f} MiB, in {seconds:.1f} s, {pairs / seconds:.1f} pairs/s"
    )


def _try_alone(out: str, plan: Plan, unit: int, folder: Path, record: TokenizerRecord) -> None:
    """One more attempt at a unit that failed, for its reason. Raises engine.UnitFailed."""
    attempt: Any = ray.remote(max_retries=0)(_tokenize)
    try:
        ray.get(attempt.remote(out, unit, folder, record))
    except RayTaskError as error:
        raise engine.UnitFailed(f"tokens of shard {plan.name(unit)}: {error.cause}") from error
    except RayError as error:
        raise engine.UnitFailed(f"tokens of shard {plan.name(unit)}: its worker died: {error}") from error


def _tokenize(out: str, unit: int, folder: Path, record: TokenizerRecord) -> dict[str, Any]:
    """Runs in a worker, which keeps its tokenizer. Raises ValueError if it is not the one that the run began with."""
    dataset, tokenizer = Dataset(out), tokenize.load_tokenizer(folder)
    if tokenizer.record != record:
        raise ValueError(f"{folder} has changed, or holds another tokenizer on this machine")
    return vars(tokenize.tokenize_unit(dataset, dataset.plan(), unit, tokenizer))


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
