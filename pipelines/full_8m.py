#!/usr/bin/env python3
"""The paper's whole training set: every ready source of Tab. 6 below one data root, one dataset directory a task.

    ray job submit pipelines/full_8m.py                                     # from a cluster started in this folder
    ray job submit --working-dir . -- python pipelines/full_8m.py --data-root /sources --out /xprompt
    python pipelines/full_8m.py --data-root /sources --plan                 # what it would make and cost

Each source lies in a folder of its own below the data root; --plan says which is ready, partial or missing, and how to
get it. What is finished is kept: the same command goes on from there, after a crash too. Beside the dataset
directories it writes OUT/recipe.json, by which a trainer mixes them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, only this file's own folder is there
    sys.path.insert(0, str(ROOT))

from manifests.dataset import Dataset
from manifests.schema import canonical_json
from manifests.storage import Store
from operators.base import Reader, StopRun
from operators.judge.guard import Guard
from operators.judge.hold_out import NOVEL_TASKS, hold_outs
from operators.read.files import list_files
from pipelines.options import add_scale_option, add_vlm_options, prices_of, vlm_of
from pipelines.recipe import FULL_8M, Entry
from pipelines.report.estimate import estimate
from pipelines.report.forecast import Forecast, print_forecast
from pipelines.report.progress import console
from pipelines.run import engine
from pipelines.run.dataset import anchored, make_dataset
from pipelines.run.lock import only_run
from pipelines.run.plan import counted, make_job
from pipelines.run.signals import stopping_on_signals
from pipelines.sources.locate import check, locate
from pipelines.tasks.catalogue import TASKS, Task


def main() -> int:
    with stopping_on_signals():
        return _main()


def _main() -> int:
    options = _parser().parse_args()
    try:
        out = anchored(options.out)
        ready = list(_ready(options))
        if options.plan:
            print_forecast(_forecasts(ready, options), check(options.data_root), prices_of(options))
            return 0
        if not ready:
            raise ValueError(f"no source of the recipe is ready below {options.data_root}: see --plan")
        return _run(ready, out, options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except (StopRun, ConnectionError) as error:
        print(error, file=sys.stderr)
        return 1
    except engine.UnitFailed as error:
        print(f"{error}\nWhat is finished is kept: the same command goes on from there.", file=sys.stderr)
        return 1


def _ready(options: argparse.Namespace) -> Iterator[tuple[Entry, Task, Reader]]:
    """The entries that can be made, with their tasks as the options shape them. Says of the others why not."""
    for entry in FULL_8M:
        task = TASKS[entry.task]
        try:
            reader = _reader(task, entry, options.data_root)
            if reader is not None:
                yield entry, _shaped(task.bound(options.models), options), reader
                continue
            reason = f"{entry.source} is not below {options.data_root}"
        except ValueError as error:
            reason = str(error)
        console.print(f"{entry.task}: left out, {reason}", highlight=False, soft_wrap=True)


def _reader(task: Task, entry: Entry, data_root: str) -> Reader | None:
    """What a task reads below the data root; a recipe of prompts begins with as many candidates as the table counts."""
    if not task.sources and task.bundled:
        return counted(task.bundled.reader, entry.pairs)
    store = Store(data_root)
    for folder in dict.fromkeys(source.folder for source in task.sources if source.folder):
        if store.exists(folder):
            root = store.path(folder) if store.is_local else f"{data_root.rstrip('/')}/{folder}"
            here = [source for source in task.sources if source.folder == folder]
            if reader := locate(here, root, list_files(root)):
                return reader
    return None


def _shaped(task: Task, options: argparse.Namespace) -> Task:
    """The task with what the recipe's options add to its chain."""
    guard = (Guard.of(options.guard),) if options.guard else ()
    task = replace(task, prepare=(*guard, *task.prepare), hold_out=hold_outs(task.name, options.hold_out))
    return task.asking(vlm_of(options), options.prompts)


def _forecasts(ready: list[tuple[Entry, Task, Reader]], options: argparse.Namespace) -> list[Forecast]:
    known = {
        entry: Forecast(entry=entry, reader=reader, estimate=estimate(task, reader, options.seed, options.scale))
        for entry, task, reader in ready
    }
    return [known.get(entry, Forecast(entry=entry)) for entry in FULL_8M]


def _run(ready: list[tuple[Entry, Task, Reader]], out: str, options: argparse.Namespace) -> int:
    """Make each dataset in turn, on one Ray; then the recipe manifest."""
    with engine.ray_session(options.cpus, say=console.print):
        for _, task, reader in ready:
            with only_run(f"{out}/{task.name}", console.print):
                job = make_job(task, reader, f"{out}/{task.name}", options.seed, options.scale)
                if status := make_dataset(job, nullcontext, options.models, prices_of(options)):
                    return status
    _write_recipe(out, [entry for entry, _, _ in ready])
    console.print(f"Recipe: {out}/recipe.json", highlight=False, soft_wrap=True)
    return 0


def _write_recipe(out: str, entries: list[Entry]) -> None:
    """OUT/recipe.json: each dataset with its counts and its weight, the share of the paper's examples it stands for."""
    total = sum(entry.examples for entry in entries)
    datasets = [
        {
            "task": entry.task,
            "path": entry.task,
            "weight": round(entry.examples / total, 6),
            "fingerprint": description["fingerprint"],
            "pairs": description["totals"]["pairs"],
            "examples": description["totals"]["examples"],
        }
        for entry in entries
        for description in [Dataset(f"{out}/{entry.task}").description()]
    ]
    recipe = {"recipe": "full_8m", "datasets": datasets}
    Store(out).write_bytes("recipe.json", (canonical_json(recipe) + "\n").encode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_root = os.environ.get("DATA_ROOT", str(ROOT / "data" / "sources"))
    parser.add_argument("--data-root", default=data_root, help="of the sources (default: $DATA_ROOT, %(default)s)")
    # In a job's copy of the working directory the default stays relative, and is refused: it would be lost.
    out = "data/full_8m" if "working_dir_files" in ROOT.parts else str(ROOT / "data" / "full_8m")
    parser.add_argument("--out", default=os.environ.get("OUT", out), help="(default: $OUT, %(default)s)")
    add_scale_option(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plan", action="store_true", help="print what it would make and cost, and make nothing")
    parser.add_argument(
        "--models", default=os.environ.get("MODELS"), help="checkpoints: a folder, hub or tiny (default: $MODELS)"
    )
    parser.add_argument("--hold-out", nargs="*", default=[], choices=sorted(NOVEL_TASKS), help="novel tasks (4.4)")
    parser.add_argument("--guard", help="Parquet file of evaluation images to exclude: `python -m manifests hashes`")
    parser.add_argument("--cpus", type=int, help="of the Ray started on this machine (default: all)")
    add_vlm_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
