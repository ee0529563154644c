"""Makes datasets from start to end: run what is not committed, finish, report. Commands and recipes go this way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from manifests.printing import counted
from manifests.storage import absolute, expanded
from manifests.write.finish import Totals, finish, sum_commits
from operators.models import checkpoints
from operators.retrieve.raie import assign_contexts
from operators.shared.texts import ClipText, Embedder, MiniLM
from operators.slow import said_if_slow
from pipelines.report.metrics import exported
from pipelines.report.prices import Prices
from pipelines.report.progress import live, print_report
from pipelines.report.terminal import tell
from pipelines.run import engine
from pipelines.run.gpus import memory_of
from pipelines.run.made import Made
from pipelines.run.nothing import told_of_errors
from pipelines.run.painted import FOLDER
from pipelines.run.plan import Job, versions
from pipelines.run.session import in_ray_job, on_cluster
from pipelines.run.stages import on_gpu


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM while a dataset was made. The message says what is kept, and how to go on."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A dataset that is to be made, and what its report says of it."""

    job: Job
    models: str | None
    """The folder of weights, where a CLIP for retrieval may be."""
    taken_as: str
    """What DATA was taken for, in words."""
    prices: Prices | None
    gpu_gib: float | None = None
    """The memory of a GPU that the run is told of; None for what is found."""
    gpus: int | None = None
    """How many GPUs the cluster will come to have, by what the run is told; None for those that it has."""


def make_datasets(
    works: Sequence[Work], session: Callable[[], AbstractContextManager[None]], console: Console
) -> list[Totals]:
    """Run what is not committed of all datasets together, finish each as its last unit is made, report to the console.

    `session` gives a Ray, if one is needed. Returns what each dataset holds; nothing.refuse_empty judges that.

    Raises Stopped on Ctrl-C or SIGTERM, engine.UnitFailed, nothing.NothingKept for a dataset that was given up, and
    StopRun or ConnectionError, before anything is started, for a server that refuses the key or is not there.
    """
    if works[0].gpus and not on_cluster():
        raise ValueError(
            "--gpus is for a cluster that grows: set RAY_ADDRESS, or leave it out for those of this machine"
        )
    there = [len(work.job.dataset.committed()) for work in works]
    for work, done in zip(works, there, strict=True):
        job = work.job
        tell(
            console,
            "plan",
            f"{job.task.name}: {job.plan.items:,} items of {job.reader.source} ({work.taken_as}) -> "
            f"{counted(job.plan.units, 'shard')} in {job.out}" + (f", {done:,} of them there already" if done else ""),
            task=job.task.name,
            items=job.plan.items,
            source=job.reader.source,
            out=job.out,
            units=job.plan.units,
            units_done=done,
        )
    left = [(work.job, work.job.plan.units - done) for work, done in zip(works, there, strict=True)]
    for vlm in {vlm.url_or_folder: vlm for job, more in left if more and (vlm := job.task.vlm)}.values():
        vlm.check()
    try:
        # Beside the run: to finish a large dataset takes minutes, in which the others' workers are not to wait.
        with live(left, console) as progress, ThreadPoolExecutor(1) as beside:
            finished = {
                work.job.out: beside.submit(_finish, work, 0, console)
                for work, (_, more) in zip(works, left, strict=True)
                if not more
            }
            to_be_made = {work.job.out: (work, more) for work, (_, more) in zip(works, left, strict=True) if more}

            def on_made(job: Job, made: Made) -> None:
                progress.add(job, made)
                work, more = to_be_made[job.out]
                if progress.tally(job).totals.units == more:
                    finished[job.out] = beside.submit(_finish, work, more, console)

            if to_be_made:
                with session():
                    prices = {work.job.out: work.prices for work in works}
                    watch = exported(replace(progress.watch, on_made=on_made), prices)
                    jobs = [work.job for work, _ in to_be_made.values()]
                    engine.run(jobs, watch, _gpu_gib(works), works[0].gpus or 0)
        totals = [finished[work.job.out].result() for work in works]
        for work, one in zip(works, totals, strict=True):
            print_report(work.job, one, progress.tally(work.job), console, work.prices)
            if errors := told_of_errors(work.job, one):
                console.print(errors, highlight=False, soft_wrap=True)
        return totals
    except KeyboardInterrupt:
        units = sum(job.plan.units for job, _ in left)
        done = sum(len(job.dataset.committed()) for job, _ in left)
        raise Stopped(
            f"Stopped: {done:,} of {units:,} shards are finished and kept. The same command goes on from there."
        ) from None


def _gpu_gib(works: Sequence[Work]) -> float | None:
    """The memory of a GPU by which chains are cut; None where anything fits, or nothing needs one."""
    if not any(on_gpu(link) for work in works for link in work.job.task.chain):
        return None
    return memory_of(works[0].gpu_gib, works[0].models)


def _finish(work: Work, made: int, console: Console) -> Totals:
    """Write what a finished dataset says of itself, unless it has been said and nothing was made since."""

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with said_if_slow(say, f"finishing {work.job.task.name}: contexts, sums, dataset.json"):
        return _finished(work, made, console)


def _finished(work: Work, made: int, console: Console) -> Totals:
    job = work.job
    finished = job.dataset.store.exists("dataset.json")
    if not made and finished:
        return sum_commits(job.dataset)
    if job.task.context == "raie":
        if finished:  # a unit was made anew, and has no retrieved contexts yet
            job.dataset.store.remove("dataset.json")
        console.print(str(assign_contexts(job.dataset, job.plan, _embedder(work.models))), highlight=False)
    job.dataset.store.remove_folder(FOLDER)  # of a run that was killed when its last unit was made
    licences = {job.reader.source: job.reader.licence}
    return finish(job.dataset, job.plan, versions=versions(job.task), licences=licences)


def _embedder(models: str | None) -> Embedder:
    """CLIP ViT-B/32, the paper's, if it is among the models; else the packaged MiniLM."""
    return ClipText(checkpoint=checkpoints.folder(models, "clip")) if checkpoints.has(models, "clip") else MiniLM()


def anchored(out: str) -> str:
    """OUT as an absolute path or URL, `~` expanded.

    Raises ValueError for a relative path inside a submitted Ray job, where it would be lost with the job's copy of
    the working directory.
    """
    if "://" not in out and in_ray_job() and not Path(expanded(out)).is_absolute():
        raise ValueError(f"OUT={out} is relative, and a Ray job's working directory is a copy: give a full path or URL")
    return absolute(out)
