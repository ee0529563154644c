"""The commands that look at datasets, from ls to browse, and export.

`xprompt` (infra/command.py) has them beside those that make datasets.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifests.browse.contact_sheet import write_contact_sheet
from manifests.browse.server import FIRST_PORT, serve
from manifests.browse.share import PAIRS, share
from manifests.browse.similarity import Similarities, similarity_sheet
from manifests.choose import command as choosing
from manifests.dataset import Dataset, DatasetError, find_datasets, folders_below
from manifests.export import command as exporting
from manifests.images.evaluation import hash_folder
from manifests.images.near import MAX_DISTANCE
from manifests.licences.policy import allowable
from manifests.licences.records import LICENCES, TERMS
from manifests.licences.told import lines, word
from manifests.printing import counted, printable, printable_json, printable_lines, say
from manifests.read.diff import Difference, Summary, compared
from manifests.read.duplicates import find_duplicates
from manifests.read.query import MAX_ROWS, connect, overview, run_sql, select
from manifests.schema import in_a_line
from manifests.verify.dataset import verify

_DIFFERENCE_CHARS = 600
_VALUE_CHARS = 60
_SHOWN_KEYS = 4  # of those that begin as the user has typed


def add_commands(commands: Any) -> None:
    """Add the commands to the subparsers of a command line, which may have others.

    Each sets `run`, a function of the parsed options that returns the exit status. It raises ValueError, OSError or
    ImportError, whose message is for the user, if it cannot do what was asked.
    """

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    def add_path(added: argparse.ArgumentParser) -> None:
        text = "a dataset directory or a folder of them, local or an fsspec URL (default: %(default)s)"
        added.add_argument("path", nargs="?", default="data", help=text)

    add_path(command("ls", _ls, "list datasets: pairs, examples, rejects, bytes, and whether they are finished"))

    show = command("show", _show, "print all that is known of one pair")
    show.add_argument("pair", help="the pair's key: 32 hex digits, or the first few of them")
    add_path(show)

    sql = command("sql", _sql, "run a read-only DuckDB query over the views examples, pairs, rejects and terms")
    sql.add_argument("query", help='for example "SELECT task, count(*) FROM pairs GROUP BY ALL"')
    add_path(sql)
    form = sql.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--json", action="store_true", help="print one JSON object a row")
    sql.add_argument("--rows", type=int, default=MAX_ROWS, help="print at most so many rows (default: %(default)s)")

    diff = command("diff", _diff, "tell which pairs of two datasets of one task differ, and in what")
    diff.description = (
        "Pairs are compared by their keys; where these differ, because the source's bytes changed, by what they were "
        "made of. The exit status is 0 if all pairs are the same, 1 if any differ, 2 if they cannot be compared."
    )
    diff.add_argument("before", help="a dataset directory, local or an fsspec URL")
    diff.add_argument("after", help="another one of the same task, of any configuration")
    diff.add_argument("--json", action="store_true", help="print one JSON object a difference, and one of the counts")
    diff.add_argument("--rows", type=int, default=20, help="print at most so many differences (default: %(default)s)")

    licences = command("licences", _licences, "list the licences of which there is a record, and what they allow")
    licences.add_argument("name", nargs="?", help="all that is known of this one, with where it was read")
    licences.add_argument("--json", action="store_true", help="print one JSON object a licence")

    add_path(command("verify", _verify, "check every file, count, hash and image place against the manifests"))

    sheet = command("contact-sheet", _contact_sheet, "write a PNG of some pairs side by side")
    add_path(sheet)
    sheet.add_argument(
        "--out", type=Path, default=Path("contact_sheet.png"), help="the PNG file to write (default: %(default)s)"
    )
    sheet.add_argument("--pairs", type=int, default=12, help="how many pairs to show (default: %(default)s)")
    sheet.add_argument("--seed", type=int, default=0, help="another seed shows other pairs (default: %(default)s)")

    similarity = command("similarity", _similarity, "tell how near retrieved in-context examples are, with a picture")
    similarity.add_argument("dataset", help="a dataset directory, local or an fsspec URL")
    similarity.add_argument(
        "--out", type=Path, default=Path("similarity.png"), help="the PNG file to write (default: %(default)s)"
    )
    similarity.add_argument("--pairs", type=int, default=8, help="how many pairs to show (default: %(default)s)")

    dups = command("dups", _dups, "list groups of near-duplicate images within and across datasets")
    add_path(dups)
    text = f"bits of 64 that may differ, 0 to {MAX_DISTANCE} (default: %(default)s)"
    dups.add_argument("--distance", type=int, default=4, choices=range(MAX_DISTANCE + 1), metavar="BITS", help=text)
    dups.add_argument(
        "--groups", type=int, default=MAX_ROWS, help="print at most so many groups (default: %(default)s)"
    )

    hashes = command("hashes", _hashes, "add an evaluation set to a guard file, so that training data leaves it out")
    hashes.add_argument(
        "folder", help="the set: a folder of images or Parquet files or a dataset directory, local or an fsspec URL"
    )
    hashes.add_argument("--name", required=True, help="what to call the set; another set of that name is replaced")
    hashes.add_argument("--out", default="guard.parquet", help="the guard file (default: %(default)s)")

    exporting.add_arguments(command("export", exporting.run, exporting.TEXT))

    choosing.add_derive(command("derive", choosing.run_derive, choosing.DERIVE))

    agreement = command("agreement", choosing.run_agreement, choosing.AGREEMENT)
    add_path(agreement)
    choosing.add_agreement(agreement)

    text = "serve a page with pairs, rejects, statistics and SQL, on this machine only, or write a page to share"
    browse = command("browse", _browse, text)
    add_path(browse)
    text = f"the port to listen at; 0 takes a free one (default: the first that is free from {FIRST_PORT} on)"
    browse.add_argument("--port", type=int, help=text)
    text = "the file that keep, drop, flag and fix are added to (default: decisions.jsonl beside the datasets)"
    browse.add_argument("--decisions", metavar="FILE", help=text)
    text = "write a static page with some pairs and the statistics into this folder, which any web space can show"
    browse.add_argument("--share", type=Path, metavar="DIR", help=text)
    browse.add_argument("--pairs", type=int, help=f"with --share: how many pairs it shows (default: {PAIRS})")
    browse.add_argument("--seed", type=int, help="with --share: another seed shows other pairs (default: 0)")


def _ls(options: argparse.Namespace) -> int:
    table = Table("task", box=None)
    for heading in ("pairs", "examples", "rejects", "MiB", "units"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for dataset in find_datasets(options.path):
        found = overview(dataset)
        counts = [f"{found[name]:,}" for name in ("pairs", "examples", "rejects")]
        units = f"{found['committed']:,} of {found['units']:,}"
        state = "finished" if found["finished"] else "unfinished"
        table.add_row(_cell(found["task"]), *counts, f"{found['shard_bytes'] / 2**20:,.1f}", units, state)
    _console().print(table)
    _tell_of_others(options.path)
    return 0


def _tell_of_others(url: str) -> None:
    """Name the folders whose datasets were not looked at."""
    if others := folders_below(url):
        say(f"not looked into: {', '.join(others)}", error=True, level="warning")


def _show(options: argparse.Namespace) -> int:
    pair = _pair(options.pair, options.path)
    table = Table(show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    images, examples, steps = pair.pop("images"), pair.pop("examples"), pair.pop("steps")
    for name, value in pair.items():
        table.add_row(_cell(name), _cell(value))
    for image in images:
        place = f"{image['bytes']:,} bytes at {image['offset']:,} of {pair['shard']}"
        size = f"{image['format']} {image['mode']}, {image['width_px']} x {image['height_px']} px"
        table.add_row(_cell(f"image {image['role']}"), _cell(f"{size}, {place}, sha256 {image['sha256']}"))
    for number, step in enumerate(steps, 1):
        known = [_cell(f"{key} {value}") for key, value in step.items() if key != "operator" and value is not None]
        table.add_row(_cell(f"step {number} {step['operator']}"), Text("\n").join(known))
    for example in examples:
        name = f"{example.pop('direction')} {example.pop('kind')}"
        known = [_cell(f"{key} {_plain(value)}") for key, value in example.items() if value is not None]
        table.add_row(_cell(name), Text("\n").join(known))
    _console().print(table)
    return 0


def _pair(prefix: str, path: str) -> dict[str, Any]:
    """The row of the view `pairs` whose key begins so. Raises DatasetError if there is none, or more than one."""
    connection = connect(path)
    sql = f"SELECT DISTINCT pair, task FROM examples WHERE starts_with(pair, ?) ORDER BY ALL LIMIT {_SHOWN_KEYS + 1}"
    found = select(connection, sql, [prefix.lower()])
    if not found:
        raise DatasetError(f"There is no pair {prefix} at {shlex.quote(path)}.")
    if len(found) > 1:
        shown = ", ".join(f"{row['pair']} ({row['task']})" for row in found[:_SHOWN_KEYS])
        more = " and more" if len(found) > _SHOWN_KEYS else ""
        raise DatasetError(f"Several pairs at {shlex.quote(path)} begin with {prefix!r}: {shown}{more}.")
    (row,) = select(connection, "SELECT * FROM pairs WHERE pair = ? AND task = ?", list(found[0].values()))
    return row


def _sql(options: argparse.Namespace) -> int:
    if " " in options.path.strip() and " " not in options.query.strip():
        raise ValueError(f"{options.query} is taken for the query, which comes first: then the folder")
    result = run_sql(connect(options.path), options.query, max_rows=options.rows)
    if options.csv:
        writer = csv.writer(sys.stdout)
        for row in (result.columns, *result.rows):
            writer.writerow([printable_lines(_plain(value)) for value in row])
    elif options.json:
        for row in result.rows:
            values = dict(zip(result.columns, row, strict=True))
            print(printable_json(json.dumps(values, ensure_ascii=False)))
    else:
        table = Table()
        for column in result.columns:
            table.add_column(_cell(column))
        for row in result.rows:
            table.add_row(*(_cell(value) for value in row))
        _console().print(table)
    if result.truncated:
        print(f"Only the first {options.rows:,} rows are printed; --rows prints more.", file=sys.stderr)
    return 0


def _diff(options: argparse.Namespace) -> int:
    before, after = Dataset(options.before), Dataset(options.after)
    summary = Summary()
    with compared(before, after) as diff:
        for difference in diff.differences():
            summary.add(difference)
            if options.json:
                print(printable_json(json.dumps(vars(difference), ensure_ascii=False)))
            elif summary.changes.total() <= options.rows:
                say(_told(difference))
        counts = diff.counts
    changes, found = dict(sorted(summary.changes.items())), dict(summary.fields.most_common())
    if options.json:
        total = {"before": counts.before, "after": counts.after, "same": summary.same(counts)}
        print(printable_json(json.dumps({**total, "changes": changes, "fields": found}, ensure_ascii=False)))
        return int(bool(changes))
    if (more := summary.changes.total() - options.rows) > 0:
        say(f"and {more:,} more: --rows {summary.changes.total()} prints all, --json with all values")
    for dataset, pairs in ((before, counts.before), (after, counts.after)):
        state = "" if dataset.store.exists("dataset.json") else ", unfinished"
        say(f"{dataset.url}: {counted(pairs, 'pair')}{state}")
    said = [f"{count:,} {change}" for change, count in changes.items()]
    say(f"{summary.same(counts):,} the same" + "".join(f", {one}" for one in said))
    for name, count in found.items():
        say(f"  {name}: {count:,}")
    return int(bool(changes))


def _told(difference: Difference) -> str:
    """A difference in a line: what became of a pair, and in what."""
    key = difference.before or difference.after
    anew = f" -> {difference.after}" if difference.change == "made anew" else ""
    fields = "; ".join(_told_field(name, *values) for name, values in difference.fields.items())
    told = f"{difference.change} {key}{anew} {difference.source_ref}{f': {fields}' if fields else ''}"
    return in_a_line(told, _DIFFERENCE_CHARS)


def _told_field(name: str, old: Any, new: Any) -> str:
    """A field with its values where a line has room for them."""
    values = [_plain(one) if isinstance(one, str | int | float) else "none" for one in (old, new)]
    is_short = name.startswith(("score", "instruction", "text", "licence", "group", "source"))
    return f"{name}, {in_a_line(values[0], _VALUE_CHARS)} -> {in_a_line(values[1], _VALUE_CHARS)}" if is_short else name


def _licences(options: argparse.Namespace) -> int:
    asked = allowable(options.name) if options.name else None
    if asked and asked not in LICENCES:
        raise ValueError(f"{asked} is a use, not a licence: xprompt licences lists those that allow it")
    shown = [LICENCES[asked]] if asked else [*LICENCES.values()]
    if options.json:
        for one in shown:
            terms = {name: vars(one.term(name)) for name in TERMS}
            print(json.dumps({"name": one.name, "title": one.title, "url": one.url, **terms}, ensure_ascii=False))
    elif asked:
        for line in lines(shown[0]):
            say(line)
    else:
        table = Table("licence", *(name.replace("_", " ") for name in TERMS), box=None)
        for one in shown:
            marks = (f"{word(one.term(name).value)}{'' if one.term(name).checked else ' ?'}" for name in TERMS)
            table.add_row(_cell(one.name), *map(_cell, marks))
        _console().print(table)
        print("?: not read in the licence itself. No legal advice. next: xprompt licences NAME")
    return 0


def _verify(options: argparse.Namespace) -> int:
    findings = 0
    for finding in verify(options.path):
        findings += 1
        say(f"{finding.file}: {finding.message}")
    if findings:
        return 1
    datasets = find_datasets(options.path)
    shards = sum(len(dataset.committed()) for dataset in datasets)
    unfinished = [dataset for dataset in datasets if not dataset.store.exists("dataset.json")]
    left = f" in what is there; {counted(len(unfinished), 'dataset')} unfinished" if unfinished else ""
    print(f"{counted(len(datasets), 'dataset')}, {counted(shards, 'shard')}: nothing wrong{left}")
    _tell_of_others(options.path)
    return 0


def _contact_sheet(options: argparse.Namespace) -> int:
    write_contact_sheet(options.path, options.out, pairs=options.pairs, seed=options.seed)
    print(options.out)
    return 0


def _similarity(options: argparse.Namespace) -> int:
    dataset = Dataset(options.dataset)
    found = Similarities.of(dataset)
    options.out.write_bytes(similarity_sheet(dataset, found, pairs=options.pairs))
    for line in found.lines():
        say(line)
    print(options.out)
    return 0


def _dups(options: argparse.Namespace) -> int:
    found = find_duplicates(options.path, options.distance)
    table = Table(box=None)
    for heading in ("group", "task", "pair", "role", "shard", "phash"):
        table.add_column(heading, no_wrap=True)
    for number, group in enumerate(found.groups[: options.groups], 1):
        for image in group:
            named = (image.task, image.pair, image.role, image.shard, image.phash)
            table.add_row(str(number), *map(_cell, named))
    if found.groups:
        _console().print(table)
    inside = sum(map(len, found.groups))
    print(
        f"{counted(found.images, 'image')}: {counted(len(found.groups), 'group')} of near-duplicates with "
        f"{counted(inside, 'image')}; {found.without_hash:,} flat or unreadable, not compared"
    )
    return 0


def _hashes(options: argparse.Namespace) -> int:
    made = hash_folder(options.folder, options.name, options.out)
    for path, why in made.unguarded:
        say(f"{path} is not guarded: {why}", error=True)
    hidden = f", {counted(made.hidden, 'hidden file')} passed over" if made.hidden else ""
    say(
        f"{options.out}: {counted(made.images, 'image')} of {options.name}, {len(made.unguarded):,} not guarded{hidden}"
    )
    return 0


def _browse(options: argparse.Namespace) -> int:
    if options.share is None:
        if options.pairs is not None or options.seed is not None:
            raise ValueError("--pairs and --seed are for --share DIR, a page of some pairs: browse shows all of them")
        serve(options.path, options.port, options.decisions)
        return 0
    if options.port is not None or options.decisions is not None:
        raise ValueError("--share writes a page and serves none: leave --port and --decisions out")
    pairs = PAIRS if options.pairs is None else options.pairs
    for problem in share(options.path, options.share, pairs=pairs, seed=options.seed or 0):
        say(problem, error=True)
    say(f"{options.share}/index.html: put the folder on any web space, or open it from there")
    return 0


def _plain(value: Any) -> str:
    """A JSON value as a line shows it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> Text:
    """A value as plain text: rich would read [brackets] in a string as markup."""
    return Text(printable(_plain(value)))


def _console() -> Console:
    """Where tables go; wide enough for nothing to be cut when the output is a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=10_000)
