#!/usr/bin/env python3
"""The paper's whole training set: every line of Tab. 6 and Tab. 7 from one data root, one dataset directory a task.

    ray job submit pipelines/full_8m.py                                     # from a cluster started in this folder
    ray job submit --working-dir . -- python pipelines/full_8m.py --data-root /sources --out /xprompt
    xprompt recipe --data-root /sources --plan                              # what it would make and cost
    xprompt recipe --recipe mine.toml --data-root /sources                  # datasets of your own choice

Each source lies in a folder of its own below the data root; --plan says which is ready, partial or missing, and how to
get it. What is finished is kept: the same command goes on from there, after a crash too. Beside the dataset
directories it writes OUT/recipe.json, by which a trainer mixes them. What is made is said by a recipe file,
pipelines/full_8m.toml without --recipe; such a file is described in pipelines/recipe.py.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, only this file's own folder is there
    sys.path.insert(0, str(ROOT))

from manifests.dataset import DatasetError
from manifests.log import add_option, chosen
from manifests.printing import say
from manifests.schema import canonical_json
from manifests.storage import Store
from operators.judge.hold_out import HELD_OUT
from pipelines.commands import add_options, ended
from pipelines.entries import (
    DataRoot,
    Planned,
    options_of_tasks,
    plan_entry,
    refuse_test_data,
    refuse_untaken,
    with_parsed_options,
)
from pipelines.options import RUN, defaults
from pipelines.recipe import PAPER, Entry, Outcome, read_recipe, weights
from pipelines.report.estimate import estimate
from pipelines.report.forecast import Forecast, print_forecast
from pipelines.report.price_table import read_prices
from pipelines.report.terminal import TERMINAL
from pipelines.run.lock import only_run
from pipelines.run.plan import Job, list_items, make_job
from pipelines.sources.locate import check
from pipelines.tasks.catalogue import find_task, modules_of
from pipelines.tasks.task import Task

if TYPE_CHECKING:
    from pipelines.run.dataset import Work  # it imports Ray, which takes seconds


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt recipe") -> int:
    """Make, or with --plan forecast, the datasets of a recipe; its exit status, as that of `xprompt shards`.

    `prog` is the command as the user typed it: it heads usage and errors.
    """
    with chosen(sys.argv[1:] if arguments is None else arguments) as rest:
        try:
            asked = asked_for(rest, prog)
        except (ValueError, ImportError, OSError) as error:
            say(f"{prog}: {' '.join(str(error).split())}", error=True)
            return 2
        return ended(prog, lambda: _make(asked))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a command line asks for: the entries of a recipe with their tasks, and the options of the whole recipe."""

    recipe: str
    """The name of the recipe."""
    entries: Sequence[tuple[Entry, Task]]
    shared: Mapping[str, Any]
    """The options that were typed and hold for all entries that can take them."""
    data_root: str
    out: str
    plan: bool


def asked_for(arguments: Sequence[str], prog: str) -> Asked:
    """What a command line asks for, after all checks that list no source. Raises ValueError, one line."""
    first, _ = _first_parser().parse_known_args(arguments)
    entries = [(entry, find_task(entry.task)) for entry in read_recipe(first.recipe)]
    for name, times in Counter(task.name for _, task in entries).items():
        if times > 1:
            raise ValueError(f"{first.recipe} has {times} datasets of the task {name}, whose folders would be one")
    parser = _parser([task for _, task in entries], prog)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise ValueError(_no_option(unknown[0].partition("=")[0], parser))
    own = {"recipe", "data_root", "out", "plan"}
    refuse_test_data(vars(options))
    return Asked(
        recipe=Path(first.recipe).stem,
        entries=[(with_parsed_options(entry, task), task) for entry, task in entries],
        shared={name: value for name, value in vars(options).items() if name not in own and value is not None},
        data_root=options.data_root,
        out=options.out,
        plan=options.plan,
    )


def _no_option(flag: str, parser: argparse.ArgumentParser) -> str:
    near = difflib.get_close_matches(flag, parser._option_string_actions, n=1)
    return f"no dataset of the recipe has an option {flag}{f': did you mean {near[0]}?' if near else ''}"


def _make(asked: Asked) -> None:
    root = DataRoot(url=asked.data_root)
    planned = [plan_entry(entry, task, root, asked.shared) for entry, task in asked.entries]
    refuse_untaken(asked.shared, planned)
    ready = [one for one in planned if one.prepared]
    if asked.plan:
        prices = next((one.prepared.prices for one in ready if one.prepared), None)
        costs = read_prices(defaults(asked.shared)["price_table"])
        lines = [_forecast(one, asked.out) for one in planned]
        print_forecast(lines, check(asked.data_root), TERMINAL, costs, prices)
        return
    for one in planned:
        if not one.prepared:
            _say(f"{one.task.name}: left out, {one.why_not}")
    _run(ready, asked)


def _forecast(planned: Planned, out: str) -> Forecast:
    one = planned.prepared
    if not one:
        return Forecast(planned=planned, there=_there(planned))
    seed, scale = one.values["seed"], one.values["scale"]
    try:
        gib, skip = one.values["gpu_gib"], planned.entry.skip
        estimated = estimate(one.task, one.reader, seed, scale, gib, count=planned.count, skip=skip)
    except ValueError as error:  # the source is empty
        return Forecast(planned=replace(planned, why_not=str(error)))
    return Forecast(planned=planned, there=estimated.there, estimate=estimated, out=out)


def _there(planned: Planned) -> int:
    """How many items there are of an entry that cannot be made."""
    try:
        return len(list_items(planned.source.reader)) if planned.source else 0
    except ValueError:
        return 0


def _run(ready: Sequence[Planned], asked: Asked) -> None:
    """Plan all datasets, make them together on one Ray; then the recipe manifest."""
    # These import Ray, which takes seconds: --help and --plan need not wait for it.
    from pipelines.run.dataset import anchored, make_datasets
    from pipelines.run.nothing import NothingKept, refuse_empty
    from pipelines.run.session import ray_session

    out = anchored(asked.out)
    values = defaults(asked.shared)
    with ExitStack() as held:
        jobs = [(one, job) for one in ready if (job := _job(one, out, held))]
        if not jobs:
            raise ValueError(f"no source of the recipe is ready below {asked.data_root}: see --plan")
        modules = sorted({module for one, _ in jobs for module in modules_of(one.task)})
        works = [_work(one, job) for one, job in jobs]
        sent = [out, asked.data_root, str(values["models"] or "")]

        def session() -> AbstractContextManager[None]:
            return ray_session(values["cpus"], py_modules=modules, not_sent=sent, say=TERMINAL.print)

        totals = make_datasets(works, session, TERMINAL)
        _write_recipe(out, asked.recipe, jobs)
        _say(f"Recipe: {out}/recipe.json")
        empty = []
        for (_, job), one in zip(jobs, totals, strict=True):
            try:
                refuse_empty(job, one, held_out=True)
            except NothingKept as nothing:
                empty.append(str(nothing))
        if empty:
            raise NothingKept("; ".join(empty))


def _work(planned: Planned, job: Job) -> Work:
    from pipelines.run.dataset import Work

    one = planned.prepared
    assert one, "it has a job"
    return Work(
        job=job,
        models=one.values["models"],
        taken_as=f"{planned.place}: {one.taken_as}",
        prices=one.prices,
        gpu_gib=one.values["gpu_gib"],
        gpus=one.values["gpus"],
    )


def _job(planned: Planned, out: str, held: ExitStack) -> Job | None:
    """The job of a dataset, its plan written, and its folder held for this run; None if its source is empty."""
    one = planned.prepared
    assert one, "it can be made"
    folder = f"{out}/{one.task.name}"
    held.enter_context(only_run(folder, _say, wait=one.values["wait"]))
    seed, scale = one.values["seed"], one.values["scale"]
    try:
        return make_job(one.task, one.reader, folder, seed, scale, count=planned.count, skip=planned.entry.skip)
    except DatasetError:
        raise
    except ValueError as error:
        _say(f"{one.task.name}: left out, {error}")
        return None


def _say(text: str) -> None:
    TERMINAL.print(text, highlight=False, soft_wrap=True)


def _write_recipe(out: str, recipe: str, jobs: Sequence[tuple[Planned, Job]]) -> None:
    """OUT/recipe.json: each dataset that has examples, with its counts and its weight (pipelines/recipe.py)."""
    described = [job.dataset.description() for _, job in jobs]
    outcomes = [
        Outcome(
            entry=one.entry,
            pairs=description["totals"]["pairs"],
            examples=description["totals"]["examples"],
            held_out=description["totals"]["rejects_by_reason"].get(HELD_OUT, 0),
            examples_a_pair=len(one.task.examples),
        )
        for (one, _), description in zip(jobs, described, strict=True)
    ]
    datasets = []
    for (one, _), description, outcome, weight in zip(jobs, described, outcomes, weights(outcomes), strict=True):
        if not outcome.examples:
            _say(f"{one.task.name}: not in recipe.json, it has no examples")
            continue
        datasets.append(
            {
                "task": one.task.name,
                "path": one.task.name,
                "weight": round(weight, 6),
                "fingerprint": description["fingerprint"],
                "pairs": outcome.pairs,
                "examples": outcome.examples,
            }
        )
    made = {"recipe": recipe, "datasets": datasets}
    Store(out).write_bytes("recipe.json", (canonical_json(made) + "\n").encode())


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ValueErrors of one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message.removeprefix("argument "))


def _first_parser() -> argparse.ArgumentParser:
    """A parser that finds the recipe alone: its tasks say which other options there are."""
    parser = _Parser(allow_abbrev=False, add_help=False)
    parser.add_argument("--recipe", default=PAPER, help="recipe file (default: the paper's, %(default)s)")
    return parser


def _parser(tasks: Sequence[Task], prog: str) -> argparse.ArgumentParser:
    parser = _Parser(
        allow_abbrev=False,
        prog=prog,
        parents=[_first_parser()],
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data_root = os.environ.get("DATA_ROOT", str(ROOT / "data" / "sources"))
    parser.add_argument(
        "--data-root", default=data_root, help="folder or URL of the sources (default: $DATA_ROOT, %(default)s)"
    )
    # In a job's copy of the working directory the default stays relative, and is refused: it would be lost.
    out = "data/full_8m" if "working_dir_files" in ROOT.parts else str(ROOT / "data" / "full_8m")
    parser.add_argument(
        "--out", default=os.environ.get("OUT", out), help="folder or URL of the datasets (default: $OUT, %(default)s)"
    )
    parser.add_argument("--plan", action="store_true", help="print what it would make and cost, and make nothing")
    shell = {name: os.environ.get(name.upper()) for name in ("models", "vlm", "vlm_model", "prompts")}
    add_options(parser, [one for one in RUN if one.name not in ("data", "out")])
    add_options(parser.add_argument_group("what its tasks let you set"), options_of_tasks(tasks))
    add_option(parser)
    parser.set_defaults(**shell)  # a submitted job has its settings from its environment
    return parser


if __name__ == "__main__":
    sys.exit(main())
