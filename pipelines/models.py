"""`xprompt models`: which checkpoints the tasks need, under which terms, and what of them is there."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from typing import Any

from operators.base import LoadsCheckpoints
from operators.models.table import CHECKPOINTS, Checkpoint
from pipelines.tasks.catalogue import OUR_TASKS, find_task
from pipelines.tasks.task import Task


def add_command(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser's subparsers, and return its own parser."""
    text = "list the checkpoints of models: licence, terms, memory, tasks, and with --models what of them is there"
    command: argparse.ArgumentParser = commands.add_parser(
        "models",
        help=text,
        description=f"{text}. Nothing is loaded or downloaded; files whose sha256 is published are hashed. The exit "
        "status is 1 if something that the task needs, or without a task any of ours, is missing or wrong.",
    )
    command.add_argument("task", nargs="?", help="only what this task, with its options, has a use for")
    command.add_argument("--models", help="look at a folder with one folder per role, at hub (its cache), or at tiny")
    command.add_argument("--json", action="store_true", help="print one JSON object a checkpoint")
    command.set_defaults(run=_models)
    return command


def needed_by(task: Task) -> tuple[str, ...]:
    """The roles of the checkpoints that a task's operators load, as it is set."""
    loading = (link.loads for link in task.chain if isinstance(link, LoadsCheckpoints))
    return tuple(dict.fromkeys(role for loads in loading for role in loads))


def _models(options: argparse.Namespace) -> int:
    task = _task(options)
    needed = set(needed_by(task)) if task else {role for one in OUR_TASKS.values() for role in needed_by(one)}
    shown = [one for one in CHECKPOINTS.values() if task is None or task.name in one.tasks or one.role in needed]
    rows = [_row(one, one.role in needed) for one in shown]
    if options.models:
        for row in rows:
            row |= _found(options.models, row["role"])
    if options.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        _print(rows, options.models)
    return int(any(row["needed"] and row.get("state", "present") != "present" for row in rows))


def _task(options: argparse.Namespace) -> Task | None:
    """The task that is asked about, as its options shape it. Raises ValueError for an option that cannot be."""
    if options.task is None:
        return None
    task = find_task(options.task)
    own = {name: value for name, value in vars(options).items() if name in task.options and value is not None}
    return task.with_options(own)


def _row(checkpoint: Checkpoint, needed: bool) -> dict[str, Any]:
    return {
        "role": checkpoint.role,
        "hub_id": checkpoint.hub_id,
        "revision": checkpoint.revision,
        "licence": checkpoint.licence,
        "outputs": checkpoint.outputs,
        "gated": checkpoint.gated,
        "gpu_gib": round(checkpoint.gpu_gib, 1),
        "tasks": [*checkpoint.tasks],
        "needed": needed,
        "obtain": checkpoint.obtain,
    }


def _found(models: str, role: str) -> dict[str, str]:
    from operators.models.presence import presence

    found = presence(models, role)
    return {"state": found.state, "why": found.why, "folder": found.folder}


def _print(rows: Iterable[Mapping[str, Any]], models: str | None) -> None:
    """The table; below it each licence's terms, and how to come by what is missing or wrong."""
    from rich.table import Table

    from pipelines.report.terminal import TERMINAL

    rows = [*rows]
    looked_at = ["state"] if models else []
    table = Table("role", "hub id", "revision", "licence", "GPU GiB", *looked_at, "tasks", box=None)
    for column in table.columns:
        column.overflow = "fold"  # a name that is cut is none
    for row in rows:
        tasks = ", ".join(row["tasks"]) or "none by itself"
        states = [row["state"] if row["needed"] else f"{row['state']}, not needed"] if models else []
        licence = f"{row['licence']}{', gated' if row['gated'] else ''}"
        cells = (row["role"], row["hub_id"] or "-", row["revision"][:7], licence, f"{row['gpu_gib']:.1f}")
        table.add_row(*cells, *states, tasks)
    TERMINAL.print(table)
    TERMINAL.print("\nWhat the licences say of what the models make (in our words, no legal advice):", highlight=False)
    for licence, outputs in dict.fromkeys((row["licence"], row["outputs"]) for row in rows):
        TERMINAL.print(f"  {licence}: {outputs}", highlight=False, markup=False, soft_wrap=True)
    for row in rows:
        if row.get("state", "present") != "present" and row["needed"]:
            why = f" ({row['why']})" if row["why"] else ""
            TERMINAL.print(
                f"{row['role']} is {row['state']}{why}: {row['obtain']}", highlight=False, markup=False, soft_wrap=True
            )
