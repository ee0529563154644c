"""`xprompt export`: datasets in the layout of another trainer."""

from __future__ import annotations

import argparse

from manifests.dataset import find_datasets
from manifests.export.formats import FORMATS, format_named
from manifests.export.run import export
from manifests.export.select import Choice
from manifests.printing import say
from manifests.read.places import folder_of

TEXT = "write finished datasets in the layout that another trainer reads"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add those of `xprompt export` to its parser."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    width = max((len(one.name) for one in FORMATS), default=0)
    command.epilog = "formats:\n" + "\n".join(f"  {one.name:<{width}}  {one.summary}" for one in FORMATS)
    command.add_argument(
        "datasets",
        nargs="+",
        metavar="DATASET",
        help="dataset directories or folders of them, local or fsspec URLs",
    )
    command.add_argument(
        "--to", required=True, choices=[one.name for one in FORMATS], metavar="FORMAT", help="one of those below"
    )
    command.add_argument("--out", required=True, help="the folder to write: a new one, or one of the same export")
    command.add_argument(
        "--direction",
        choices=("forward", "reverse", "both"),
        default="forward",
        help="which examples: the task as it is named, its way back, or both (default: %(default)s)",
    )
    command.add_argument(
        "--kind",
        choices=("generate", "describe"),
        default=None,
        help="which examples: those with an image to make, or a text (default: all that the format has a place for)",
    )
    command.add_argument(
        "--where",
        metavar="SQL",
        default=None,
        help="only examples that meet a condition over the columns that `xprompt sql` has: \"scores['ssim'] > 0.8\"",
    )
    command.add_argument("--limit", type=_positive, metavar="N", default=None, help="the first N examples alone")
    command.add_argument(
        "--contexts",
        type=_count,
        metavar="K",
        default=None,
        help="at most K in-context examples of each, where the format has a place for them (default: all)",
    )


def run(options: argparse.Namespace) -> int:
    """Export, and say what was exported, left out, left off and converted."""
    found = {folder_of(dataset.url): dataset for place in options.datasets for dataset in find_datasets(place)}
    choice = Choice(
        direction=options.direction,
        kind=options.kind,
        where=options.where,
        limit=options.limit,
        contexts=options.contexts,
    )
    done = export([*found.values()], format_named(options.to), options.out, choice, say)
    said = done.description
    tasks = ", ".join(dict.fromkeys(source["task"] for source in said["config"]["datasets"]))
    there = "was there already: " if done.was_there else ""
    size = f"{said['files']:,} files, {said['bytes'] / 2**20:,.1f} MiB"
    say(f"{there}{options.out}: {said['examples']:,} examples of {tasks} as {options.to}, {size}")
    for title, counts in (
        ("left out, examples", said["left_out"]),
        (f"not carried, {options.to} has no place for them", said["without"]),
        ("pictures made PNG anew, of the same pixels", said["converted"]),
    ):
        if counts:
            say(f"{title}: " + "; ".join(f"{count:,} {what}" for what, count in counts.items()))
    say(f"which file is what: {options.out.rstrip('/')}/SAMPLE.md; licences: LICENCES.md beside it")
    return 0


def _positive(text: str) -> int:
    if (number := _count(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of examples")
    return int(text)
