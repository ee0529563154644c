"""Runs a job's units on Ray: one row of a Ray Data job per unit, the ledger as the only truth of what is done.

Workers write shards themselves and return only statistics, so no image passes through the object store. Ray Data is
told to go on when a unit fails; what is not committed afterwards is looked at unit by unit (`_narrow`), since a failed
block says nothing about which pair is to blame.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.annotations import RayDeprecationWarning

from manifests.dataset import Commit
from operators.account import accounting
from operators.base import StopRun
from operators.vlm.request import Usage
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.start import connect, source_root, start
from pipelines.run.unit import make_unit

UNIT_RETRIES = 2
"""How often Ray retries a unit whose worker died (its own default is for ever) before it is narrowed down."""

ITEM_DEATHS = 2
"""Deaths at one item, with the item known, after which it is rejected."""

_OBJECT_STORE_BYTES = 256 * 2**20  # statistics only; Ray's default is 30% of memory


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a worker says of a unit that it has made."""

    commit: Commit
    usage: Usage
    """What was asked of a vision-language model for it."""
    spent: Spent


class UnitFailed(Exception):
    """A unit could not be made, for a reason that is not one of its pairs. The message says which and why."""


@contextmanager
def ray_session(
    cpus: int | None = None,
    object_store_bytes: int = _OBJECT_STORE_BYTES,
    *,
    py_modules: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """The cluster of RAY_ADDRESS, or a Ray of our own on this machine, left again at the end of the block.

    A Ray that this process has initialised already, as in a notebook, is used as it is and stays. Otherwise `cpus` and
    `object_store_bytes` bound our own Ray; a cluster has its size. `py_modules` are paths of Python files and package
    folders of the user's that workers import: a cluster is sent them, and our clone if our packages run from one.
    `say` is told what is waited for. Raises RayUnavailable, one line.
    """
    if ray.is_initialized():
        yield
        return
    say = say or (lambda text: None)
    modules = [str(Path(module).resolve()) for module in py_modules]
    address = os.environ.get("RAY_ADDRESS", "local")
    root = source_root()
    if address == "local":
        say("Starting Ray on this machine ...")
        start(
            cpus,
            object_store_bytes,
            [*(str(Path(module).parent) for module in modules), *([str(root)] if root else [])],
        )
    else:
        say(f"Connecting to the Ray of RAY_ADDRESS={address} ...")
        runtime_env: dict[str, Any] = {"py_modules": modules} if modules else {}
        # Inside a submitted job the working directory is set already and must not be set again.
        if root and not in_ray_job():
            # Besides what .gitignore names, data/ and models/ among it. Excludes hold for `py_modules` too.
            runtime_env |= {"working_dir": str(root), "excludes": [".git", ".venv"]}
        connect(address, runtime_env)
    try:
        yield
    finally:
        ray.shutdown()


def in_ray_job() -> bool:
    """Whether this process is the driver of a job submitted by `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def run(job: Job, on_made: Callable[[Made], None], on_start: Callable[[int], None] | None = None) -> None:
    """Make every unit that is not committed. `on_made` is told of each as it arrives, in any order.

    `on_start` is told how many workers make them, before the first.

    Raises UnitFailed for the first unit that cannot be made; all others are tried before. Raises StopRun at once where
    no other unit can fare better.
    """
    pending = sorted(set(range(job.plan.units)) - job.dataset.committed())
    if not pending:
        return
    if on_start:
        on_start(_workers(job, len(pending)))
    reported = set()
    # Closed before Ray is: left to the garbage collector, an interrupted run would call Ray, and so start another one.
    with closing(_run_units(job, pending)) as rows:
        for made in rows:
            reported.add(made.commit.unit)
            on_made(made)
    committed = job.dataset.committed()
    for unit in sorted(set(pending) - reported):
        if unit in committed:  # though its report was lost with its worker
            on_made(Made(commit=job.dataset.commit(job.plan.name(unit)), usage=Usage(), spent=Spent()))
        else:
            on_made(_narrow(job, unit))


def _run_units(job: Job, units: list[int]) -> Generator[Made]:
    workers = _workers(job, len(units))

    def make(unit: int) -> dict[str, Any]:
        try:
            made = _make(job, unit)
        except StopRun as error:  # an exception would be counted as one failed unit among many
            return {"stop": str(error)}
        return {name: vars(part) for name, part in vars(made).items()}

    for row in map_units(units, make, job.task.gpus, workers if job.task.vlm else None):
        if "stop" in row:
            raise StopRun(row["stop"])
        yield Made(commit=Commit(**row["commit"]), usage=Usage(**row["usage"]), spent=Spent(**row["spent"]))


def _workers(job: Job, units: int) -> int:
    """How many units are made at once."""
    workers = min(_most_workers(job.task.gpus), units)
    if job.task.vlm and not job.task.vlm.is_local:
        workers = min(workers, job.task.vlm.concurrency)
    return workers


def _make(job: Job, unit: int, **options: Any) -> Made:
    spent = Spent()
    with accounting() as account:
        commit = make_unit(job, unit, spent, **options)
    return Made(commit=commit, usage=account.usage, spent=spent)


def map_units(
    units: list[int], make: Callable[[int], dict[str, Any]], gpus: float | None, workers: int | None = None
) -> Generator[dict[str, Any]]:
    """What `make` returns for each unit, as it arrives; a unit whose worker dies again and again is left out.

    `gpus` is the share of a GPU that a worker needs, where the cluster has some: then workers are actors, which live as
    long as the run, so that models are loaded once. None: tasks, in as many processes as there are cores. `workers`
    bounds how many run at once.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def apply(row: dict[str, Any]) -> dict[str, Any]:
        return make(units[row["id"]])

    class Actor:
        """Lives as long as the run, so that models are loaded once; a task that has a GPU ends its process with it."""

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return make(row["item"])

    with warnings.catch_warnings():
        # Ray 2.60 deprecates the only way to bound retries in favour of named parameters, which lack this one.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        if gpus is None:
            # A range is made by the tasks themselves; the blocks of `from_items` would lie in the driver, 4 KiB a unit.
            rows = ray.data.range(len(units), override_num_blocks=len(units))
            made = rows.map(apply, max_retries=UNIT_RETRIES, concurrency=workers)
        else:
            # Before actors a range would be tasks of their own, which wait for ever where actors hold all CPUs.
            rows = ray.data.from_items(units, override_num_blocks=len(units))
            most = workers or min(_most_workers(gpus), len(units))
            made = rows.map(
                Actor, num_cpus=1, num_gpus=_gpu_share(gpus), concurrency=(1, most), max_task_retries=UNIT_RETRIES
            )
    yield from made.iter_rows()


def _gpu_share(gpus: float | None) -> float:
    """Of what a worker needs, what it can be given: nothing where the cluster has no GPU."""
    return gpus if gpus and ray.cluster_resources().get("GPU") else 0.0


def _most_workers(gpus: float | None) -> int:
    """How many workers the cluster has room for, each with its share of a GPU, where there are some."""
    resources = ray.cluster_resources()
    fit = resources["GPU"] / gpus if gpus and resources.get("GPU") else resources["CPU"]
    return max(1, int(fit))


def _narrow(job: Job, unit: int) -> Made:
    """Make a unit whose workers die, one attempt at a time, rejecting the items at which they die.

    Raises UnitFailed if an attempt fails by an exception, or dies before any item.
    """
    attempts: Any = ray.remote(max_retries=0, num_gpus=_gpu_share(job.task.gpus))(_attempt)
    breadcrumbs: Any = ray.remote(num_cpus=0)(_Breadcrumb)
    deaths: Counter[int | None] = Counter()
    while deaths[None] < ITEM_DEATHS:
        culprits = frozenset(item for item, count in deaths.items() if item is not None and count >= ITEM_DEATHS)
        breadcrumb: Any = breadcrumbs.remote()
        try:
            made: Made = ray.get(attempts.remote(job, unit, culprits, breadcrumb))
            return made
        except RayTaskError as error:
            if isinstance(error.cause, StopRun):
                raise StopRun(str(error.cause)) from None
            raise UnitFailed(f"shard {job.plan.name(unit)}: {error.cause}") from error
        except RayError:  # the worker or its node died
            try:
                deaths[ray.get(breadcrumb.last.remote())] += 1
            except RayActorError:  # and took the breadcrumb with it
                deaths[None] += 1
    raise UnitFailed(f"shard {job.plan.name(unit)}: its worker died {ITEM_DEATHS} times before reading an item")


def _attempt(job: Job, unit: int, culprits: frozenset[int], breadcrumb: Any) -> Made:
    def at_item(position: int) -> None:
        ray.get(breadcrumb.at.remote(position))  # waited for: the next instruction may be the last

    return _make(job, unit, culprits=culprits, at_item=at_item)


class _Breadcrumb:
    """Remembers which item an attempt has reached. It lives in another process than the attempt."""

    def __init__(self) -> None:
        self._position: int | None = None

    def at(self, position: int) -> None:
        self._position = position

    def last(self) -> int | None:
        return self._position
