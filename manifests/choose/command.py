"""`xprompt derive` and `xprompt agreement`."""

from __future__ import annotations

import argparse
import json
import shlex

from manifests.choose.agreement import MOST_GATES, Agreement, Gate, agreement
from manifests.choose.decisions import read_ledger
from manifests.choose.derive import Derived, NothingLeft, derive
from manifests.dataset import Dataset, DatasetError
from manifests.printing import counted, printable_json, say
from manifests.read.query import connect
from manifests.schema import NOTHING_KEPT
from manifests.tokens import FOLDER as TOKENS
from manifests.write.candidates import FOLDER as CANDIDATES

DERIVE = "make a dataset of the pairs of another that reviewers or SQL choose"
AGREEMENT = "tell how far reviewers agree with each other, and with gates and judges"

_DECISIONS = "the file of decisions that browse wrote (default: decisions.jsonl beside the dataset, if it is there)"
_STAY = (CANDIDATES, TOKENS, "responses", "embeddings")


def add_derive(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `xprompt derive` to its parser."""
    command.description = (
        "A pair is left out if more reviewers drop it than keep it, or as many; instructions become what most "
        "reviewers made of them. The new dataset names its parent, and who decided what; the parent is not touched."
    )
    command.add_argument("dataset", metavar="DATASET", help="a finished dataset, local or an fsspec URL")
    command.add_argument("--out", required=True, help="the folder that gets the new dataset's, of the parent's name")
    command.add_argument("--decisions", metavar="FILE", default=None, help=_DECISIONS)
    command.add_argument(
        "--sql",
        metavar="SELECT",
        default=None,
        help="only pairs that a query over the parent's views yields (a LIMIT needs an ORDER BY): "
        "\"SELECT pair FROM pairs WHERE scores['ssim'] > 0.8\"",
    )
    command.add_argument(
        "--undecided",
        choices=("keep", "drop"),
        default="keep",
        help="what becomes of pairs that nobody keeps or drops (default: %(default)s)",
    )


def run_derive(options: argparse.Namespace) -> int:
    """Derive, and say what was left out and what was not carried over. NOTHING_KEPT if no pair is left."""
    parent = Dataset(options.dataset)
    parent.plan()  # says if it is no dataset
    parent.description()  # or an unfinished one
    ledger = read_ledger(parent.url, options.decisions)
    if ledger is None and options.sql is None:
        raise DatasetError(
            "there is nothing to choose by: give --sql, or decide of pairs in xprompt browse, which writes "
            f"decisions.jsonl beside {parent.url}"
        )
    if ledger and (told := ledger.told()):
        say(told, error=True)
    out = f"{options.out.rstrip('/')}/{parent.url.rpartition('/')[2]}"
    try:
        done = derive(parent, out, ledger=ledger, sql=options.sql, undecided=options.undecided)
    except NothingLeft as nothing:
        say(f"xprompt derive: {nothing}", error=True)
        return NOTHING_KEPT
    for line in _told(parent, done):
        say(line)
    return 0


def _told(parent: Dataset, done: Derived) -> list[str]:
    """What a derived dataset is, in lines."""
    chosen, url = done.selection, done.dataset.url
    there, fixed = "was there already: " if done.was_there else "", counted(done.fixed, "instruction")
    lines = [f"{there}{url}: {chosen.kept:,} of {chosen.pairs:,} pairs of {parent.url}, {fixed} fixed"]
    if chosen.reasons:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in sorted(chosen.reasons.items()))
        lines.append(f"left out, as rejects with why: {reasons}")
    if chosen.elsewhere:
        lines.append(f"{counted(chosen.elsewhere, 'pair')} with decisions in the file, not in this dataset")
    counts = [one.description()["totals"]["examples_without_context"] for one in (parent, done.dataset)]
    if counts[1] > counts[0]:
        lines.append(
            f"{counts[1]:,} examples are without an in-context example, {counts[0]:,} in the parent: "
            f"xprompt contexts {shlex.quote(url)} chooses them anew"
        )
    if left := [folder for folder in _STAY if parent.store.names(folder)]:
        lines.append(f"not carried over: {', '.join(left)}")
    return [*lines, f"next: xprompt diff {shlex.quote(parent.url)} {shlex.quote(url)}"]


def add_agreement(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `xprompt agreement` to its parser, which has the datasets' path."""
    command.add_argument("--decisions", metavar="FILE", default=None, help=_DECISIONS)
    command.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="BOUND",
        help='compare with a bound on a score too, "ssim>=0.6" or "mean_abs_diff<=0.2" (may be given again)',
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run_agreement(options: argparse.Namespace) -> int:
    """Print who decided how much, each two raters' table and kappa, and that of all reviewers."""
    if len(options.gate) > MOST_GATES:
        raise ValueError(f"--gate: {len(options.gate)} bounds, and {MOST_GATES} are compared at most")
    gates = [Gate.of(text) for text in options.gate]
    pool = connect(options.path)  # says if there is no dataset
    ledger = read_ledger(options.path, options.decisions)
    if ledger is None:
        raise DatasetError(f"nobody has decided of a pair of {options.path}: xprompt browse writes decisions")
    if told := ledger.told():
        say(told, error=True)
    found = agreement(ledger.standing, pool, gates)
    if options.json:
        print(printable_json(json.dumps(found.as_json(), ensure_ascii=False)))
        return 0
    for line in _lines(found):
        say(line)
    return 0


def _lines(found: Agreement) -> list[str]:
    lines = [
        f"{name}: " + ", ".join(f"{count:,} {decision}" for decision, count in counts.items())
        for name, counts in found.reviewers.items()
    ]
    for two in found.two:
        lines.append(
            f"{two.first} and {two.second}, {two.pairs:,} pairs: both keep {two.both_keep:,}, only {two.first} keeps "
            f"{two.first_keeps:,}, only {two.second} keeps {two.second_keeps:,}, both drop {two.both_drop:,}; "
            f"Cohen's kappa {_number(two.kappa)}"
        )
    if found.all_pairs:
        lines.append(
            f"all reviewers, {found.all_pairs:,} pairs that each decided: Fleiss' kappa {_number(found.fleiss)}"
        )
    return lines or ["no pair of these datasets has a decision"]


def _number(kappa: float | None) -> str:
    return "not defined (all say the same)" if kappa is None else f"{kappa:.3f}"
