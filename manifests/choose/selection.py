"""Which pairs of a dataset a derived one has, and what is said of each: by decisions, and by SQL."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from manifests.choose.decisions import Ledger, Standing
from manifests.choose.verdict import Verdict, verdict
from manifests.dataset import Dataset, DatasetError
from manifests.read.query import TIMEOUT_S, connect
from manifests.read.sql_pool import SqlError
from manifests.schema import canonical_json

Undecided = Literal["keep", "drop"]

_MAX_ANSWER_BYTES = 2**29  # a pair's key has 36: 14 million pairs
_SHOWN_REVIEWERS = 20

NOT_SELECTED = "not_selected"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What becomes of a dataset's pairs."""

    left_out: Mapping[str, str]
    """Pair -> why it is left out: not_selected, dropped, disputed or undecided, which become reasons of rejects."""
    verdicts: Mapping[str, Verdict]
    """Of the pairs that have a decision."""
    standing: Mapping[str, Mapping[str, Standing]]
    pairs: int
    """How many pairs the dataset has."""
    selected_sha256: str | None
    """Of the keys of the pairs that SQL selected, sorted, as a JSON list; None without SQL."""
    elsewhere: int
    """How many pairs have decisions and are none of this dataset."""

    @property
    def kept(self) -> int:
        return self.pairs - len(self.left_out)

    @property
    def reasons(self) -> Counter[str]:
        return Counter(self.left_out.values())

    def fixes(self, pair: str) -> Mapping[tuple[str, str], str]:
        """Direction and kind of an example of a pair -> the instruction that it is to have."""
        of = self.verdicts.get(pair)
        return of.instructions if of else {}

    def said(self, pair: str) -> list[dict[str, Any]]:
        """Who decided what of a pair, and when, by name."""
        reviewers = sorted(self.standing.get(pair, {}).items())
        return [{"reviewer": name, "decision": one.decision, "time": one.time} for name, one in reviewers]

    def told(self, pair: str) -> str:
        """Why a pair is left out, in words."""
        said = [f"{one['decision']} by {one['reviewer']} ({one['time']})" for one in self.said(pair)[:_SHOWN_REVIEWERS]]
        if self.left_out[pair] == NOT_SELECTED:
            return "the SQL that the dataset was derived by does not select it"
        return "; ".join(said) or "no reviewer has decided"


def selection(dataset: Dataset, ledger: Ledger | None, sql: str | None, undecided: Undecided) -> Selection:
    """What decisions and SQL make of a dataset's pairs.

    Raises SqlError for SQL that is no SELECT of pairs of the dataset, DatasetError for a fix of an example that a pair
    does not have.
    """
    examples = _examples(dataset)
    selected = None if sql is None else _selected(dataset, sql, examples)
    standing = ledger.standing if ledger else {}
    there = {pair: reviewers for pair, reviewers in standing.items() if pair in examples and reviewers}
    verdicts = {pair: verdict(reviewers) for pair, reviewers in there.items()}
    for pair, of in verdicts.items():
        for example in of.instructions:
            if example not in examples[pair]:
                raise DatasetError(
                    f"{ledger.path if ledger else ''} fixes the example {' '.join(example)} of pair {pair}, which has "
                    f"none in {dataset.url}"
                )
    left_out: dict[str, str] = {}
    for pair in examples:
        status = verdicts[pair].status if pair in verdicts else "undecided"
        if selected is not None and pair not in selected:
            left_out[pair] = NOT_SELECTED
        elif status in ("dropped", "disputed") or (status == "undecided" and undecided == "drop"):
            left_out[pair] = status
    return Selection(
        left_out=left_out,
        verdicts=verdicts,
        standing=there,
        pairs=len(examples),
        selected_sha256=None if selected is None else _sha256(sorted(selected)),
        elsewhere=sum(bool(reviewers) for reviewers in standing.values()) - len(there),
    )


def _examples(dataset: Dataset) -> dict[str, tuple[tuple[str, str], ...]]:
    """Direction and kind of the examples of each pair, in stored order."""
    found: dict[str, list[tuple[str, str]]] = {}
    same: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}  # most pairs have the same ones
    for name in dataset.unit_names():
        table = dataset.table_of(name, ["pair", "direction", "kind"])
        for pair, *example in zip(*(table[column].to_pylist() for column in table.column_names), strict=True):
            found.setdefault(pair, []).append((example[0], example[1]))
    return {pair: same.setdefault(tuple(some), tuple(some)) for pair, some in found.items()}


def _selected(dataset: Dataset, sql: str, examples: Mapping[str, Any]) -> set[str]:
    """The pairs that a SELECT yields in its column `pair`."""
    asked = f"SELECT DISTINCT pair FROM (\n{sql.strip().rstrip(';')}\n) AS selected"
    try:
        result = connect(dataset.url).run(
            asked,
            is_foreign=True,
            max_rows=len(examples),
            max_bytes=_MAX_ANSWER_BYTES,
            timeout_s=TIMEOUT_S,
        )
    except SqlError as error:
        raise SqlError(f"--sql: {error} (it is a SELECT with a column `pair`)") from None
    keys = [row[0] for row in result.rows]
    foreign = next((key for key in keys if key not in examples), None) if _are_texts(keys) else keys
    if foreign is not None or result.truncated:
        raise SqlError(f"--sql: its column `pair` has {foreign!r:.80}, which is no pair of {dataset.url}")
    return set(keys)


def _are_texts(keys: Sequence[Any]) -> bool:
    return all(isinstance(key, str) for key in keys)


def _sha256(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
