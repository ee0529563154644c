"""Ends a run that keeps nothing: early where a step fails at every pair, and else when its last unit is made.

What a step cannot do is told from what it judges. A gate that rejects all pairs has looked at each of them; an operator
with a bug in it, or a model whose answers cannot be read, would only go on to cost time, calls and a folder of rejects
that has to be removed before the bug is mended.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace

from manifests.parquet import ParquetFile
from manifests.printing import printable
from manifests.schema import Pair
from manifests.write.finish import Totals
from operators.judge.hold_out import HELD_OUT
from pipelines.report.hints import as_typed
from pipelines.run.chain import Rejected
from pipelines.run.plan import Job

ENOUGH = 50
"""Pairs at which one step fails in the same way, while not one is kept, before a dataset is given up."""

_ANSWERS = frozenset(["refused", "truncated_answer", "unparsed"])
"""Reasons of a reject that say that a vision-language model's answer, which is kept, is of no use."""

_NOT_DONE = _ANSWERS | {"no_answer", "not_finite", "out_of_memory"}
"""Reasons of a reject that say that a step could not do its work, beside "error", whose exception tells the way."""

_MESSAGE_CHARS = 300


class NothingKept(Exception):
    """A dataset to which a run has added no pair. The message, one line, says the commonest reason and the way out."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A way in which one step fails."""

    step: str
    kind: str
    """The name of an exception, or the reason of a reject."""
    message: str
    """What was said of the first pair."""
    pairs: int
    """At how many pairs it has failed so."""


class Trial:
    """Counts what becomes of pairs: whether any is kept, and the ways in which steps fail at the others.

    It travels between processes.
    """

    def __init__(self) -> None:
        self.kept = False
        """Whether any pair was kept, or goes on to the next stage."""
        self._pairs = 0
        self._failures: dict[tuple[str, str], Failure] = {}

    @classmethod
    def of(cls, made: Iterable[Pair | Rejected]) -> Trial:
        """The trial of these pairs alone."""
        trial = cls()
        for one in made:
            trial.add(one)
        return trial

    def add(self, made: Pair | Rejected) -> None:
        """Count what has become of a pair."""
        self._pairs += 1
        if isinstance(made, Pair):
            self.kept = True
        elif kind := _kind(made):
            self._count(Failure(step=made.step, kind=kind, message=_shown(made.reject.message), pairs=1))

    def merge(self, other: Trial) -> None:
        """Count the pairs of another trial too."""
        self.kept |= other.kept
        self._pairs += other._pairs
        for failure in other._failures.values():
            self._count(failure)

    @property
    def hopeless(self) -> Failure | None:
        """The commonest failure, if so many pairs have shown it, and none was kept, that all will."""
        worst = max(self._failures.values(), key=lambda one: one.pairs, default=None)
        return worst if worst and worst.pairs >= ENOUGH and not self.kept else None

    @property
    def only(self) -> Failure | None:
        """The one failure that all pairs have shown, however few they are; None if they differ, or there is no pair."""
        if len(self._failures) != 1:
            return None
        (one,) = self._failures.values()
        return one if one.pairs == self._pairs else None

    def _count(self, failure: Failure) -> None:
        place = failure.step, failure.kind
        known = self._failures.get(place)
        self._failures[place] = replace(known, pairs=known.pairs + failure.pairs) if known else failure


class KeepsNothing(Exception):
    """A worker has kept no pair of a unit, nor will it of the others, as it seems. The unit is not committed."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.trial = trial


def given_up(job: Job, failure: Failure) -> NothingKept:
    """Why a dataset is given up before all of its pairs have been tried."""
    said = failure.message if failure.message.startswith(failure.kind) else f"{failure.kind}: {failure.message}"
    way_out = "mend that, and the same command makes them"
    if failure.kind in _ANSWERS:
        way_out = f"choose another VLM_MODEL or PROMPTS; to ask this one again, remove {shlex.quote(job.out)}/responses"
    return NothingKept(
        f"{job.task.name}: {failure.step} failed in the same way at all of {failure.pairs:,} pairs, and nothing was "
        f"kept: {said.rstrip('. ')}. None of them is stored as a reject: {way_out}"
    )


def refuse_empty(job: Job, totals: Totals, *, held_out: bool = False) -> None:
    """Raises NothingKept for a finished dataset of which every item was rejected.

    With `held_out` one whose items all belong to a held-out task may be empty, as in a recipe that leaves out tasks.
    """
    if totals.pairs or (held_out and set(totals.rejects) == {HELD_OUT}):
        return
    ((reason, count),) = totals.rejects.most_common(1)
    raise NothingKept(
        f"{job.task.name}: nothing was kept, of {totals.rejects.total():,} rejected items {count:,} were "
        f"{reason}{_example(job, reason)}. Look at them ({as_typed('browse', job.out)}); to try other data or options, "
        "remove that dataset or choose another OUT"
    )


def told_of_errors(job: Job, totals: Totals) -> str:
    """One line on the items of a finished dataset at which steps failed, with the first of them; "" if there are none,
    or nothing else.

    A bug that shows at some pairs only, or after a while, ends no run: that others are kept may say that it is the
    pairs' fault.
    """
    count = totals.rejects["error"]
    if not count or not totals.pairs:
        return ""
    return (
        f"{job.task.name}: at {count:,} of {totals.pairs + totals.rejects.total():,} items a step failed, first"
        f"{_example(job, 'error')}: if that is a bug, mend it, remove that dataset and make it anew"
    )


def _kind(made: Rejected) -> str:
    """In which way a step has failed at a pair; "" if it has judged it."""
    reject = made.reject
    if reject.reason == "error":
        return reject.message.partition(":")[0]
    return reject.reason if reject.reason in _NOT_DONE else ""


def _example(job: Job, reason: str) -> str:
    """What was said of the first item that was rejected for a reason, in brackets."""
    for name in job.dataset.store.names("rejects"):
        with job.dataset.store.open(f"rejects/{name}") as file:
            for row in ParquetFile(file).read(columns=["operator", "reason", "message"]).to_pylist():
                if row["reason"] == reason:
                    message = _shown(row["message"])
                    return f" by {row['operator']} ({message})" if message else f" by {row['operator']}"
    return ""


def _shown(message: str) -> str:
    """What a step, a file or a model said, as the beginning of a line that a terminal can be shown."""
    return printable(" ".join(message.split())[:_MESSAGE_CHARS])
