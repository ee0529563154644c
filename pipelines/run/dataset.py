"""Makes one dataset from start to end: run what is not committed, finish, report. Commands and recipes go this way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console

from manifests.write.finish import Totals, finish, sum_commits
from operators.models import checkpoints
from operators.retrieve.raie import assign_contexts
from operators.shared.texts import ClipText, Embedder, MiniLM
from pipelines.report.prices import Prices
from pipelines.report.progress import live, print_report
from pipelines.run import engine
from pipelines.run.plan import Job, versions


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM while a dataset was made. The message says what is kept, and how to go on."""


def make_dataset(
    job: Job,
    session: Callable[[], AbstractContextManager[None]],
    *,
    models: str | None,
    taken_as: str,
    prices: Prices | None,
    console: Console,
) -> None:
    """Run what is not committed, finish, report to the console. `session` gives a Ray, if one is needed.

    `models` is the folder of weights, where a CLIP for retrieval may be; `taken_as`
    what DATA was taken for, in words. Raises Stopped on Ctrl-C or SIGTERM, engine.UnitFailed, and StopRun or
    ConnectionError, before anything is started, for a server that refuses the key or is not there.
    """
    done = len(job.dataset.committed())
    console.print(
        f"{job.task.name}: {job.plan.items:,} items of {job.reader.source} ({taken_as}) -> {job.plan.units:,} shards "
        f"in {job.out}" + (f", {done:,} of them there already" if done else ""),
        highlight=False,
        soft_wrap=True,
    )
    if job.task.vlm and done < job.plan.units:
        job.task.vlm.check()
    try:
        with live(job, job.plan.units - done, console) as progress:
            if done < job.plan.units:
                with session():
                    engine.run(job, progress.add, progress.begin)
        totals = _finish(job, progress.totals.units, models, console)
    except KeyboardInterrupt:
        done = len(job.dataset.committed())
        raise Stopped(
            f"Stopped: {done:,} of {job.plan.units:,} shards are finished and kept. "
            "The same command goes on from there."
        ) from None
    print_report(job, totals, progress, console, prices)


def _finish(job: Job, made: int, models: str | None, console: Console) -> Totals:
    """Write what a finished dataset says of itself, unless it has been said and nothing was made since."""
    finished = job.dataset.store.exists("dataset.json")
    if not made and finished:
        return sum_commits(job.dataset)
    if job.task.context == "raie":
        if finished:  # a unit was made anew, and has no retrieved contexts yet
            job.dataset.store.remove("dataset.json")
        console.print(str(assign_contexts(job.dataset, job.plan, _embedder(models))), highlight=False)
    licences = {job.reader.source: job.reader.licence}
    return finish(job.dataset, job.plan, versions=versions(job.task), licences=licences)


def _embedder(models: str | None) -> Embedder:
    """CLIP ViT-B/32, the paper's, if it is among the models; else the packaged MiniLM."""
    return ClipText(checkpoint=checkpoints.folder(models, "clip")) if checkpoints.has(models, "clip") else MiniLM()


def anchored(out: str) -> str:
    """OUT as an absolute path or URL.

    Raises ValueError for a relative path inside a submitted Ray job, where it would be lost with the job's copy of
    the working directory.
    """
    if "://" in out:
        return out.rstrip("/")
    if engine.in_ray_job() and not Path(out).is_absolute():
        raise ValueError(f"OUT={out} is relative, and a Ray job's working directory is a copy: give a full path or URL")
    return str(Path(out).resolve())
