#!/usr/bin/env python3
"""The paper's whole training set: every ready source of Tab. 6 below one data root, one dataset directory a task.

    ray job submit pipelines/full_8m.py                                     # from a cluster started in this folder
    ray job submit --working-dir . -- python pipelines/full_8m.py --data-root /sources --out /xprompt
    xprompt recipe --data-root /sources --plan                              # what it would make and cost
    xprompt recipe --recipe mine.toml --data-root /sources                  # datasets of your own choice

Each source lies in a folder of its own below the data root; --plan says which is ready, partial or missing, and how to
get it. What is finished is kept: the same command goes on from there, after a crash too. Beside the dataset
directories it writes OUT/recipe.json, by which a trainer mixes them. A recipe file is described in pipelines/recipe.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, only this file's own folder is there
    sys.path.insert(0, str(ROOT))

from manifests.dataset import Dataset
from manifests.schema import canonical_json
from manifests.storage import Store
from operators.option import Option
from operators.read.files import list_files
from pipelines.commands import add_options, ended
from pipelines.options import RUN, defaults
from pipelines.prepare import Prepared, prepare
from pipelines.recipe import FULL_8M, Entry, read_recipe
from pipelines.report.estimate import estimate
from pipelines.report.forecast import Forecast, print_forecast
from pipelines.report.progress import TERMINAL
from pipelines.run.lock import only_run
from pipelines.run.plan import make_job
from pipelines.sources.locate import check, locate
from pipelines.sources.source import Source
from pipelines.tasks.catalogue import find_task, modules_of
from pipelines.tasks.task import Task


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt recipe") -> int:
    """Make, or with --plan forecast, the datasets of a recipe; its exit status, as that of `xprompt shards`.

    `prog` is the command as the user typed it: it heads usage and errors.
    """
    try:
        asked = _asked(sys.argv[1:] if arguments is None else arguments, prog)
    except (ValueError, ImportError, OSError) as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return ended(prog, lambda: _make(asked))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a command line asks for: the entries of a recipe, their tasks by the entries' names, and the options."""

    recipe: str
    """The name of the recipe."""
    entries: Sequence[Entry]
    tasks: Mapping[str, Task]
    own: Mapping[str, Option]
    """The options of the tasks, by name."""
    options: argparse.Namespace


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An entry that can be made."""

    entry: Entry
    prepared: Prepared


def _asked(arguments: Sequence[str], prog: str) -> Asked:
    first, _ = _first_parser().parse_known_args(arguments)
    entries = read_recipe(first.recipe) if first.recipe else FULL_8M
    tasks = {entry.task: find_task(entry.task) for entry in entries}
    own = {name: one for task in tasks.values() for name, one in task.options.items()}
    options = _parser(own, prog).parse_args(arguments)
    recipe = Path(first.recipe).stem if first.recipe else "full_8m"
    return Asked(recipe=recipe, entries=entries, tasks=tasks, own=own, options=options)


def _make(asked: Asked) -> None:
    from pipelines.run.dataset import anchored  # it imports Ray, which takes seconds: --help need not wait for it

    entries, tasks, own, options = asked.entries, asked.tasks, asked.own, asked.options
    shared = {one.name: getattr(options, one.name) for one in RUN if one.name not in ("data", "out")}
    chosen = {name: value for name in own if (value := getattr(options, name)) is not None}
    out = anchored(options.out)
    ready = []
    for entry in entries:
        task = tasks[entry.task]
        try:
            source = _source(task, entry, options.data_root)
            if source is None:
                raise ValueError(f"{entry.source or task.name} is not below {options.data_root}")
            given = {
                **_taken(shared, task, source),
                **_counted(task, entry),
                **{k: v for k, v in chosen.items() if k in task.options},
            }
            ready.append(Ready(entry=entry, prepared=prepare(task, given, source)))
        except ValueError as error:
            TERMINAL.print(f"{task.name}: left out, {error}", highlight=False, soft_wrap=True)
    values = defaults({**shared, "out": options.out})
    if options.plan:
        prices = ready[0].prepared.prices if ready else None
        print_forecast(list(_forecasts(entries, ready)), check(options.data_root), TERMINAL, prices)
    elif not ready:
        raise ValueError(f"no source of the recipe is ready below {options.data_root}: see --plan")
    else:
        _run(ready, out, asked.recipe, values["cpus"])


def _source(task: Task, entry: Entry, data_root: str) -> Source | None:
    """What a task reads below the data root: the folder that the entry names, or those of the task's sources."""
    if not task.sources and task.bundled:
        return task.bundled
    store = Store(data_root)
    for folder in [entry.data] if entry.data else [source.folder for source in task.sources if source.folder]:
        if store.exists(folder):
            root = store.path(folder) if store.is_local else f"{data_root.rstrip('/')}/{folder}"
            here = [source for source in task.sources if entry.data or source.folder == folder]
            if source := locate(here, root, list_files(root)):
                return source
    return None


def _taken(shared: dict[str, Any], task: Task, source: Source) -> dict[str, Any]:
    """The options of the whole recipe, less those that only other tasks of it can take.

    KEEP is for tasks with gates that judge by scores, SIZE for photos that come without pairs.
    """
    left_out = {"keep"} if not task.judges else set()
    left_out |= {"size"} if source.reader.paired else set()
    return {name: value for name, value in shared.items() if name not in left_out}


def _counted(task: Task, entry: Entry) -> dict[str, int]:
    """A recipe of prompts begins with as many candidates as the table counts, unless a count is given."""
    return {"count": entry.pairs} if not task.sources and "count" in task.options and entry.pairs else {}


def _forecasts(entries: Sequence[Entry], ready: Sequence[Ready]) -> Iterator[Forecast]:
    known = {one.entry: one.prepared for one in ready}
    for entry in entries:
        if entry not in known:
            yield Forecast(entry=entry)
            continue
        prepared, values = known[entry], known[entry].values
        estimated = estimate(prepared.task, prepared.reader, values["seed"], values["scale"], values["gpu_gib"])
        yield Forecast(entry=entry, reader=prepared.reader, estimate=estimated)


def _run(ready: Sequence[Ready], out: str, recipe: str, cpus: int | None) -> None:
    """Make all datasets together, on one Ray; then the recipe manifest."""
    from pipelines.run.dataset import Work, make_datasets
    from pipelines.run.session import ray_session

    modules = sorted({module for one in ready for module in modules_of(one.prepared.task)})
    with ExitStack() as locks:
        works = []
        for one in ready:
            prepared, values = one.prepared, one.prepared.values
            folder = f"{out}/{prepared.task.name}"
            locks.enter_context(only_run(folder, TERMINAL.print, wait=values["wait"]))
            job = make_job(prepared.task, prepared.reader, folder, values["seed"], values["scale"])
            works.append(Work(job=job, models=values["models"], taken_as=prepared.taken_as, prices=prepared.prices))
        make_datasets(works, lambda: ray_session(cpus, py_modules=modules, say=TERMINAL.print), TERMINAL)
    _write_recipe(out, recipe, ready)
    TERMINAL.print(f"Recipe: {out}/recipe.json", highlight=False, soft_wrap=True)


def _write_recipe(out: str, recipe: str, ready: Sequence[Ready]) -> None:
    """OUT/recipe.json: each dataset with its counts and its weight, the share of the recipe's examples it stands for.

    Where the recipe counts no pairs, a dataset stands for the examples that it has.
    """
    described = {one.prepared.task.name: Dataset(f"{out}/{one.prepared.task.name}").description() for one in ready}
    examples = {
        one.prepared.task.name: one.entry.examples or described[one.prepared.task.name]["totals"]["examples"]
        for one in ready
    }
    datasets = [
        {
            "task": name,
            "path": name,
            "weight": round(examples[name] / sum(examples.values()), 6),
            "fingerprint": description["fingerprint"],
            "pairs": description["totals"]["pairs"],
            "examples": description["totals"]["examples"],
        }
        for name, description in described.items()
    ]
    made = {"recipe": recipe, "datasets": datasets}
    Store(out).write_bytes("recipe.json", (canonical_json(made) + "\n").encode())


def _first_parser() -> argparse.ArgumentParser:
    """A parser that finds the recipe alone: its tasks say which other options there are."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--recipe", help="recipe file (default: the paper's Tab. 6 and Tab. 7)")
    return parser


def _parser(own: dict[str, Option], prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    add_options(parser.add_argument_group("what its tasks let you set"), own.values())
    parser.set_defaults(**shell)  # a submitted job has its settings from its environment
    return parser


if __name__ == "__main__":
    sys.exit(main())
