"""`xprompt export`: datasets in the layout of another trainer."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from manifests.dataset import Dataset, find_datasets
from manifests.export.format import Format
from manifests.export.formats import FORMATS, format_named
from manifests.export.preference_layouts import LAYOUTS, Layout
from manifests.export.preference_run import export_preferences
from manifests.export.preferences import Wanted
from manifests.export.run import export
from manifests.export.select import Choice, NothingLeft
from manifests.licences.policy import Policy
from manifests.printing import say
from manifests.read.places import folder_of
from manifests.schema import NOTHING_KEPT

TEXT = "write finished datasets in the layout that another trainer reads"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add those of `xprompt export` to its parser."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    forms: list[Format | Layout] = [*FORMATS, *LAYOUTS]
    width = max(len(one.name) for one in forms)
    command.epilog = "formats:\n" + "\n".join(f"  {one.name:<{width}}  {one.summary}" for one in forms)
    command.add_argument(
        "datasets",
        nargs="+",
        metavar="DATASET",
        help="dataset directories or folders of them, local or fsspec URLs",
    )
    command.add_argument(
        "--to", required=True, choices=[one.name for one in forms], metavar="FORMAT", help="one of those below"
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
    command.add_argument(
        "--allow-licence",
        nargs="+",
        metavar="LICENCE",
        default=None,
        help="leave out examples, and contexts, under other licences: commercial, research, or names that "
        "xprompt licences lists",
    )
    command.add_argument("--limit", type=_positive, metavar="N", default=None, help="the first N examples alone")
    command.add_argument(
        "--contexts",
        type=_count,
        metavar="K",
        default=None,
        help="at most K in-context examples of each, where the format has a place for them (default: all)",
    )
    preferences = command.add_argument_group("of preferences")
    preferences.add_argument(
        "--margin", type=_margin, metavar="SCORE", default=None, help="the least that a better picture ranks higher"
    )
    preferences.add_argument(
        "--rank", metavar="SCORE", default=None, help="the score that tells the better one (default: the dataset's)"
    )
    preferences.add_argument(
        "--rejects", action="store_true", help="those of rejected pairs too, whose input images are not stored"
    )


def run(options: argparse.Namespace) -> int:
    """Export, and say what was exported, left out, left off and converted. NOTHING_KEPT if nothing was."""
    try:
        return _run(options)
    except NothingLeft as nothing:
        say(f"xprompt export: {nothing}", error=True)
        return NOTHING_KEPT


def _run(options: argparse.Namespace) -> int:
    found = {folder_of(dataset.url): dataset for place in options.datasets for dataset in find_datasets(place)}
    if layout := next((one for one in LAYOUTS if one.name == options.to), None):
        return _run_preferences([*found.values()], layout, options)
    if options.margin is not None or options.rank is not None or options.rejects:
        raise ValueError(f"--margin, --rank and --rejects are of {' and '.join(one.name for one in LAYOUTS)}")
    choice = Choice(
        direction=options.direction,
        kind=options.kind,
        where=options.where,
        limit=options.limit,
        contexts=options.contexts,
        allowed=_allowed(options),
    )
    done = export([*found.values()], format_named(options.to), options.out, choice, say)
    said = done.description
    tasks = ", ".join(dict.fromkeys(source["task"] for source in said["config"]["datasets"]))
    there = "was there already: " if done.was_there else ""
    size = _size(said)
    say(f"{there}{options.out}: {said['examples']:,} examples of {tasks} as {options.to}, {size}")
    for title, counts in (
        (f"left out, examples{' of those up to --limit' if options.limit else ''}", said["left_out"]),
        (f"not carried, {options.to} has no place for them", said["without"]),
        ("pictures made PNG anew, of the same pixels", said["converted"]),
    ):
        if counts:
            say(f"{title}: " + "; ".join(f"{count:,} {what}" for what, count in counts.items()))
    say(f"which file is what: {options.out.rstrip('/')}/SAMPLE.md; licences: LICENCES.md beside it")
    return 0


def _run_preferences(datasets: Sequence[Dataset], layout: Layout, options: argparse.Namespace) -> int:
    others = {"--kind": options.kind, "--where": options.where, "--contexts": options.contexts}
    given = [name for name, value in others.items() if value is not None]
    if options.direction != "forward":
        given.append("--direction")
    if given:
        raise ValueError(f"{layout.name} has no place for {', '.join(given)}: leave it out")
    wanted = Wanted(rank=options.rank, margin=options.margin or 0.0, rejects=options.rejects, allowed=_allowed(options))
    done = export_preferences(datasets, layout, options.out, wanted, limit=options.limit, tell=say)
    said = done.description
    there = "was there already: " if done.was_there else ""
    size = _size(said)
    say(f"{there}{options.out}: {said['examples']:,} preferences as {layout.name}, {size}")
    if said["left_out"]:
        say("left out: " + "; ".join(f"{count:,} {what}" for what, count in said["left_out"].items()))
    say(f"which column is what: {options.out.rstrip('/')}/SAMPLE.md; licences: LICENCES.md beside it")
    return 0


def _allowed(options: argparse.Namespace) -> tuple[str, ...] | None:
    if options.allow_licence is None:
        return None
    try:
        return tuple(sorted(Policy.of(options.allow_licence).allowed))
    except ValueError as error:
        raise ValueError(f"--allow-licence: {error}") from None


def _margin(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text} is not a difference of scores, 0 or more")
    return number


def _positive(text: str) -> int:
    if (number := _count(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of examples")
    return int(text)


def _size(said: Mapping[str, Any]) -> str:
    """How many files an export has, and how large they are."""
    files = said["files"]
    return f"{files:,} {'file' if files == 1 else 'files'}, {said['bytes'] / 2**20:,.1f} MiB"
