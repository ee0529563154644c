"""The engine from Python: `make` makes a dataset, `plan` says what that would make and cost.

    from pipelines import make

    dataset = make("derain", data="/photos", out="data", seed=1)

The command line goes the same way: `xprompt shards` calls `make`, `xprompt plan` calls `plan`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console

from manifests.dataset import Dataset
from operators.slow import said_if_slow
from pipelines.prepare import Prepared, prepare
from pipelines.report.estimate import Estimate, estimate
from pipelines.report.terminal import SILENT
from pipelines.run.dataset import Work, anchored, make_datasets
from pipelines.run.lock import only_run
from pipelines.run.nothing import refuse_empty
from pipelines.run.plan import Job, folder_name, make_job
from pipelines.run.session import ray_session
from pipelines.tasks.catalogue import modules_of
from pipelines.tasks.task import Task


def make(task: Task | str, *, console: Console = SILENT, **options: Any) -> Dataset:
    """Make a dataset, or go on with one that is unfinished, and return it finished.

    `task` is a Task or a name as on the command line. `options` are those of `pipelines.options.RUN` (data, out, seed,
    scale, ...) and those that the task's own operators and readers declare. Nothing is printed unless a `console` is
    given, no signal handler is installed, and any thread will do. A Ray that runs in this process already is used. The
    dataset lies in the folder of OUT that has the task's name, that of a test split in <task>-<split>.

    Raises ValueError for what cannot be made as asked, manifests.dataset.DatasetError (a ValueError) if OUT holds
    something else, engine.UnitFailed for a unit that cannot be made, nothing.NothingKept where not one pair is kept,
    StopRun or ConnectionError for a server that refuses or is not there, OSError for a place that cannot be reached or
    written to. What is finished is kept: the same call goes on.
    """

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with said_if_slow(say, "listing DATA"):
        prepared = prepare(task, options)
    values, task = prepared.values, prepared.task
    if values["models"] == "tiny" and task.judges:
        console.print("MODELS=tiny: the scores of random weights mean nothing, so gates store them and keep all.")
    folder = f"{anchored(str(values['out']))}/{folder_name(task, prepared.reader)}"
    with only_run(folder, say, wait=values["wait"]):
        with said_if_slow(say, "listing DATA and planning"):
            job = make_job(task, prepared.reader, folder, values["seed"], values["scale"])
        return made(job, prepared, console)


def made(job: Job, prepared: Prepared, console: Console = SILENT) -> Dataset:
    """Make all of a planned dataset that is not made yet; raises as `make` does."""
    values = prepared.values
    work = Work(
        job=job,
        models=values["models"],
        taken_as=prepared.taken_as,
        prices=prepared.prices,
        gpu_gib=values["gpu_gib"],
        gpus=values["gpus"],
    )
    folders = [str(values[name]) for name in ("out", "data", "models") if values[name]]

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    def session() -> AbstractContextManager[None]:
        return ray_session(values["cpus"], py_modules=modules_of(prepared.task), not_sent=folders, say=say)

    (totals,) = make_datasets([work], session, console)
    refuse_empty(job, totals)
    return job.dataset


def plan(task: Task | str, **options: Any) -> tuple[Prepared, Estimate]:
    """What `make` with the same options would make and cost. Nothing is written and no Ray is started."""
    prepared = prepare(task, options)
    values = prepared.values
    return prepared, estimate(prepared.task, prepared.reader, values["seed"], values["scale"], values["gpu_gib"])
