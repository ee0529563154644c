"""How far reviewers agree with each other, and with the gates and judges of a dataset.

Raters say keep or drop of a pair. A reviewer does by a decision (a fix keeps; a flag is neither); a judge by a score
that is 0 or 1 of every pair of the dataset, as a vision-language model's No and Yes are stored (1 keeps); a gate by a
bound on any score, which is given. Two raters are compared over the pairs of which both say something; all reviewers
together, if they are three or more, over the pairs of which each says something.

    Cohen's kappa   (observed - expected) / (1 - expected) agreement of two raters, expected of each one's own shares
                    (Cohen 1960, Educational and Psychological Measurement 20)
    Fleiss' kappa   the same of many, expected of the shares of all of them (Fleiss 1971, Psychological Bulletin 76)

Neither is defined where chance alone would have them agree always: where all say the same of every pair.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from manifests.choose.decisions import Standing
from manifests.choose.verdict import AGAINST, FOR
from manifests.read.query import MAX_RESULT_BYTES, TIMEOUT_S, select
from manifests.read.sql_pool import Pool

_GATE = re.compile(r"\s*(?P<score>[^<>=\s]{1,200})\s*(?P<sign>>=|<=)\s*(?P<bound>\S{1,40})\s*")
MOST_GATES = 16


class BadGate(ValueError):
    """What is no bound on a score."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A bound on a score: a pair beyond it would be dropped."""

    score: str
    least: float = -math.inf
    most: float = math.inf

    @classmethod
    def of(cls, text: str) -> Gate:
        """A gate of "ssim>=0.6" or "mean_abs_diff<=0.2". Raises BadGate."""
        match = _GATE.fullmatch(text)
        try:
            bound = float(match["bound"]) if match else math.nan
        except ValueError:
            bound = math.nan
        if not match or not math.isfinite(bound):
            raise BadGate(f"{text!r} is no bound on a score: write ssim>=0.6 or mean_abs_diff<=0.2")
        return cls(score=match["score"], **({"least": bound} if match["sign"] == ">=" else {"most": bound}))

    @property
    def name(self) -> str:
        return f"{self.score} >= {self.least:g}" if self.least > -math.inf else f"{self.score} <= {self.most:g}"

    def keeps(self, value: float) -> bool:
        return self.least <= value <= self.most


@dataclass(frozen=True, kw_only=True)
class Two:
    """Two raters, over the pairs of which both say something."""

    first: str
    second: str
    both_keep: int
    first_keeps: int
    """Where the second drops."""
    second_keeps: int
    """Where the first drops."""
    both_drop: int
    kappa: float | None
    """Cohen's; None where it is not defined."""

    @property
    def pairs(self) -> int:
        return self.both_keep + self.first_keeps + self.second_keeps + self.both_drop


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What all raters of a dataset's pairs come to."""

    reviewers: Mapping[str, Mapping[str, int]]
    """By reviewer: how many pairs were decided how."""
    two: Sequence[Two]
    """Reviewers with each other, then reviewers with judges and gates."""
    all_pairs: int
    """How many pairs every one of three or more reviewers keeps or drops."""
    fleiss: float | None

    def as_json(self) -> dict[str, Any]:
        two = [{**asdict(one), "pairs": one.pairs} for one in self.two]
        return {"reviewers": self.reviewers, "two": two, "all_pairs": self.all_pairs, "fleiss": self.fleiss}


def agreement(standing: Mapping[str, Mapping[str, Standing]], pool: Pool, gates: Sequence[Gate] = ()) -> Agreement:
    """How far the raters agree of the pairs that a dataset has. `pool` has its views.

    Raises BadGate for a gate on a score that none of the decided pairs has, SqlError if the manifests cannot be read.
    """
    scores = scores_of(pool, [*standing])
    there = {pair: reviewers for pair, reviewers in standing.items() if pair in scores}
    counts: dict[str, dict[str, int]] = {}
    votes: dict[str, dict[str, bool]] = {}
    for pair, reviewers in there.items():
        for name, one in reviewers.items():
            of = counts.setdefault(name, {})
            of[one.decision] = of.get(one.decision, 0) + 1
            if one.decision in FOR or one.decision == AGAINST:
                votes.setdefault(name, {})[pair] = one.decision in FOR
    names = sorted(votes)
    machines = {f"judge {name}": _by(Gate(score=name, least=0.5), scores) for name in _judges(pool)}
    for gate in gates:
        machines[f"gate {gate.name}"] = said = _by(gate, scores)
        if there and not said:
            raise BadGate(f"no pair that was decided has the score {gate.score}")
    two = [compared(*names, votes[names[0]], votes[names[1]]) for names in itertools.combinations(names, 2)]
    two += [compared(name, other, votes[name], said) for name in names for other, said in sorted(machines.items())]
    everybody = [pair for pair in there if all(pair in votes[name] for name in names)] if len(names) > 2 else []
    table = [
        (sum(votes[name][pair] for name in names), sum(not votes[name][pair] for name in names)) for pair in everybody
    ]
    return Agreement(
        reviewers={name: dict(sorted(counts[name].items())) for name in sorted(counts)},
        two=[one for one in two if one.pairs],
        all_pairs=len(everybody),
        fleiss=fleiss(table),
    )


def compared(first: str, second: str, one: Mapping[str, bool], other: Mapping[str, bool]) -> Two:
    """Two raters, each as what it says of pairs: whether they are to be kept."""
    counts = {(mine, theirs): 0 for mine in (True, False) for theirs in (True, False)}
    for pair in one.keys() & other.keys():
        counts[one[pair], other[pair]] += 1
    table = [[counts[True, True], counts[True, False]], [counts[False, True], counts[False, False]]]
    return Two(
        first=first,
        second=second,
        both_keep=table[0][0],
        first_keeps=table[0][1],
        second_keeps=table[1][0],
        both_drop=table[1][1],
        kappa=cohen(table),
    )


def cohen(table: Sequence[Sequence[int]]) -> float | None:
    """Cohen's kappa of a square table: how often the first rater said the row's and the second the column's."""
    total = sum(map(sum, table))
    chance = sum(sum(row) * sum(column) for row, column in zip(table, zip(*table, strict=True), strict=True))
    if chance == total * total:  # in whole numbers, so that it is told exactly
        return None
    same = sum(row[place] for place, row in enumerate(table))
    return float((same * total - chance) / (total * total - chance))


def fleiss(table: Sequence[Sequence[int]]) -> float | None:
    """Fleiss' kappa of a table with a row a subject: how many raters said each category, as many in every row."""
    if not table:
        return None
    raters, subjects = sum(table[0]), len(table)
    expected = sum((sum(column) / (raters * subjects)) ** 2 for column in zip(*table, strict=True))
    if any(sum(column) == raters * subjects for column in zip(*table, strict=True)):
        return None
    alike = sum(sum(count * (count - 1) for count in row) for row in table) / (raters * (raters - 1) * subjects)
    return float((alike - expected) / (1 - expected))


def scores_of(pool: Pool, pairs: Sequence[str]) -> dict[str, Mapping[str, float]]:
    """The scores of those of some pairs that the datasets have."""
    if not pairs:
        return {}
    sql = (
        "SELECT pair, any_value(scores) FROM examples WHERE pair IN (SELECT unnest(CAST(? AS VARCHAR[]))) GROUP BY pair"
    )
    result = pool.run(
        sql, [[*pairs]], is_foreign=False, max_rows=len(pairs), max_bytes=MAX_RESULT_BYTES, timeout_s=TIMEOUT_S
    )
    return {pair: scores or {} for pair, scores in result.rows}


def _judges(pool: Pool) -> list[str]:
    """The scores that are 0 or 1 of every pair that has them."""
    rows = select(
        pool,
        "SELECT score.key AS name FROM (SELECT unnest(map_entries(scores)) AS score FROM examples) "
        "GROUP BY ALL HAVING bool_and(score.value IN (0, 1)) ORDER BY ALL",
    )
    return [row["name"] for row in rows]


def _by(gate: Gate, scores: Mapping[str, Mapping[str, float]]) -> dict[str, bool]:
    """What a gate says of the pairs that have its score."""
    values = ((pair, of.get(gate.score)) for pair, of in scores.items())
    return {pair: gate.keeps(value) for pair, value in values if isinstance(value, int | float)}
