"""The command `xprompt retry`. Ray is imported when a dataset is made, not for a help text or a mistyped option."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from manifests.dataset import Dataset
from manifests.log import add_option
from manifests.printing import say
from pipelines.commands import add_options, ended
from pipelines.options import RUN
from pipelines.tasks.catalogue import task_of
from pipelines.tasks.task import Task

OPTIONS = tuple(one for one in RUN if one.name != "scale")
"""The options of a run, but for the one that chooses among a source's items: the rejects say which are made again."""

_OUT = "folder or URL that gets the new dataset's folder (default: the one that the dataset lies in)"


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt retry") -> int:
    """Make rejected items again; `prog` heads usage and errors. Returns the exit status, as `xprompt shards` does."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=prog,
        description="Make again what a dataset rejected for a reason, as a new dataset that names it.",
    )
    parser.add_argument("dataset", help="the dataset directory, finished, local or an fsspec URL")
    parser.add_argument(
        "--reason", action="append", default=[], metavar="R", help="why items were rejected; may be given several times"
    )
    parser.add_argument("--task", help="the dataset's task, if it is one of a file: file.py:NAME")
    add_options(parser, [one if one.name != "out" else replace(one, help=_OUT) for one in OPTIONS])
    add_option(parser)
    try:
        task = _named(arguments)
    except (ValueError, OSError, ImportError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    if task:
        taken = {one.name for one in OPTIONS}
        group = parser.add_argument_group(f"what {task.name} itself lets you set")
        add_options(group, [one for one in task.options.values() if one.name not in taken])
    options = vars(parser.parse_args(arguments))
    url, reasons, name = (options.pop(key) for key in ("dataset", "reason", "task"))

    def run() -> None:
        from pipelines.report.terminal import TERMINAL
        from pipelines.retry import retry

        retry(url, reasons, name, console=TERMINAL, **options)

    return ended(prog, run)


def _named(arguments: Sequence[str] | None) -> Task | None:
    """The task of the dataset that is named, if one is: the parser is to have its options. Raises as `task_of` does."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--task")
    for one in OPTIONS:
        parser.add_argument(one.flag, nargs="*" if one.many else "?" if one.type is bool else None)
    parser.add_argument("--reason")
    named, others = parser.parse_known_args(arguments)
    if not named.dataset:
        return None
    words = [named.dataset, *(one for one in others if not one.startswith("-"))]  # or the value of a task's option
    dataset = next((one for one in map(Dataset, words) if one.store.exists("plan.parquet")), Dataset(words[0]))
    return task_of(dataset.plan(), named.task)
