"""Pages of pairs, and the rows of pairs that are named.

A pair's examples are neighbouring rows of one manifest, so a pair is found by the file and the row of its first one. A
page reads the rows that it shows, whatever the dataset's size. Without a filter it reads little else: how many pairs
each unit has stands in its manifest's footer. With one, DuckDB looks through the columns that the filter names.

Where several tasks are shown they take turns: the first pair of each, then the second of each, and so on.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manifests.dataset import Dataset
from manifests.read.pairs import EXAMPLE_COLUMNS
from manifests.read.query import MAX_RESULT_BYTES, TIMEOUT_S, manifest_file, rows_of, select
from manifests.read.sql_pool import Pool, SqlError
from manifests.schema import MANIFEST

PAGE_PAIRS = 24
MOST_KEYS = 200
"""How many pairs may be asked for by key at once: a page's pairs have up to four in-context examples each."""

_MOST_EXAMPLES = 4  # of a pair: {generate, describe} x {forward, reverse}
_SCORED = {"low": "score ASC, file, row", "high": "score DESC, file, row"}
_IN_TURNS = "row_number() OVER (PARTITION BY task ORDER BY file, row), task"


_WORDS = {"direction": ("forward", "reverse"), "kind": ("generate", "describe"), "order": (*_SCORED,)}
"""By parameter, what it may say."""


class BadRequest(ValueError):
    """A parameter of a request that cannot be used."""


class NotThere(LookupError):
    """What is asked for is named by no manifest."""


@dataclass(frozen=True, kw_only=True)
class PairRows:
    """Where a pair's rows are, and which of its examples is to be seen first; None for the pair's first."""

    file: str
    row: int
    shown: tuple[str, str] | None = None
    """Direction and kind."""


@dataclass(frozen=True, kw_only=True)
class Only:
    """A condition on pairs, by their keys."""

    keys: Sequence[str]
    inside: bool
    """Whether the pairs are those of the keys, or all others."""

    @property
    def sql(self) -> str:
        """The condition on the column `pair`, with the list of the keys as its one parameter."""
        return f"pair {'' if self.inside else 'NOT '}IN (SELECT unnest(CAST(? AS VARCHAR[])))"


class Pairs:
    """The pairs of the units that were committed at one moment."""

    def __init__(
        self, datasets: Mapping[str, Dataset], committed: Mapping[str, Sequence[str]], connection: Pool
    ) -> None:
        """Those of some units, named by the URL of their dataset, which the connection sees."""
        self._datasets, self._committed, self._connection = datasets, committed, connection
        self._units: dict[str, list[tuple[str, int]]] = {}

    def page(self, query: Mapping[str, str], only: Only | None = None) -> dict[str, Any]:
        """A page of the pairs that have an example as it is asked for: `total`, `page_size` and `rows`.

        A row is one of the view `pairs`; `shown` names the direction and the kind of the first example that was asked
        for. Pairs are in stored order, tasks in turns, or in the order of a score. Raises BadRequest.
        """
        start = page_number(query) * PAGE_PAIRS
        refuse_other_task(query, self._datasets)
        for name, words in _WORDS.items():
            if query.get(name, words[0]) not in words:
                raise BadRequest(f"{name} is none of {', '.join(words)}: {query[name]}")
        conditions, values = equal(query, ("task", "direction", "kind"))
        if only:
            conditions.append(only.sql)
            values.append([*only.keys])
        if text := query.get("text"):
            conditions.append("(contains(lower(instruction), lower(?)) OR contains(lower(text), lower(?)))")
            values += [text, text]
        score = query.get("score", "")
        if score:
            conditions.append("scores[?] BETWEEN ? AND ?")
            values += [score, number(query, "min", float("-inf")), number(query, "max", float("inf"))]
        task = query.get("task", "")
        if all(condition == "task = ?" for condition in conditions):
            total, places = self._stored([task] if task else sorted(self._datasets), start)
        else:
            order = _SCORED.get(query.get("order", ""), _IN_TURNS) if score else _IN_TURNS
            total, places = self._matching(task, " AND ".join(conditions), values, score, order, start)
        return {"total": total, "page_size": PAGE_PAIRS, "rows": self._rows(places)}

    def named(self, keys: Sequence[str], first: Iterable[str] = ()) -> list[dict[str, Any]]:
        """The rows of the pairs of some keys, in their order; a key of no pair has none. Raises as `find` does, and
        BadRequest."""
        if len(keys) > MOST_KEYS:
            raise BadRequest(f"{len(keys)} pairs are asked for: at most {MOST_KEYS} at once")
        places = self.find(keys, first)
        return self._rows([places[key] for key in dict.fromkeys(keys) if key in places])

    def find(self, keys: Collection[str], first: Iterable[str] = ()) -> dict[str, PairRows]:
        """Where the pairs of some keys are; a key of no pair is left out.

        Tasks are looked through one after the other, those of `first` before the others, until all keys are found: a
        dataset that is gone is no matter to who asks for pairs of another. Raises SqlError if a key is not found, and
        manifests that may have it cannot be read.
        """
        places: dict[str, PairRows] = {}
        failed: SqlError | None = None
        for task in dict.fromkeys([*first, *sorted(self._datasets)]):
            if not (wanted := sorted({*keys} - places.keys())):
                break
            few = len(wanted) <= MOST_KEYS  # of which DuckDB passes over the row groups that have none
            condition = f"pair IN ({', '.join('?' * len(wanted))})" if few else Only(keys=wanted, inside=True).sql
            try:
                found = self._connection.run(
                    "SELECT pair, min({'file': filename, 'row': file_row_number}) "
                    f"FROM {rows_of('examples', task)} WHERE {condition} GROUP BY pair",
                    wanted if few else [wanted],
                    is_foreign=False,
                    max_rows=len(wanted),
                    max_bytes=MAX_RESULT_BYTES,
                    timeout_s=TIMEOUT_S,
                )
            except SqlError as error:
                failed = error
                continue
            places |= {key: PairRows(**place) for key, place in found.rows}
        if failed and len(places) < len({*keys}):
            raise failed
        return places

    def _units_of(self, task: str) -> list[tuple[str, int]]:
        """The file of each unit of a task and how many pairs it has, in order."""
        if task not in self._units:  # two who ask at once both look, to the same end
            dataset = self._datasets[task]
            self._units[task] = [
                (manifest_file(task, name), dataset.commit(name).pairs) for name in self._committed[dataset.url]
            ]
        return self._units[task]

    def _stored(self, tasks: Sequence[str], start: int) -> tuple[int, list[PairRows]]:
        """The number of all pairs of tasks, and those of a page, in turns."""
        units = {task: self._units_of(task) for task in tasks}
        totals = {task: sum(pairs for _, pairs in of_task) for task, of_task in units.items()}
        turns = itertools.islice(_turns(totals, start), PAGE_PAIRS)
        wanted = [_unit_of(units[task], position) for task, position in turns]
        parts, files = [], {file: [inside for other, inside in wanted if other == file] for file, _ in wanted}
        for insides in files.values():
            parts.append(
                "(SELECT ? AS file, min(file_row_number) AS row FROM read_parquet(?) GROUP BY pair "
                f"ORDER BY row LIMIT {len(insides)} OFFSET {insides[0]})"
            )
        values = [value for file in files for value in (file, file)]
        found = select(self._connection, " UNION ALL ".join(parts) + " ORDER BY ALL", values) if parts else []
        rows = {file: iter([one["row"] for one in found if one["file"] == file]) for file in files}
        places = ((file, next(rows[file], None)) for file, _ in wanted)
        return sum(totals.values()), [PairRows(file=file, row=row) for file, row in places if row is not None]

    def _matching(
        self, task: str, where: str, values: Sequence[Any], score: str, order: str, start: int
    ) -> tuple[int, list[PairRows]]:
        """The number of the pairs, of one task or for "" of all, of which an example matches, and those of a page."""
        matching = (
            "SELECT filename AS file, pair, task, min(file_row_number) AS row, any_value(scores[?]) AS score, "
            "arg_min(direction, file_row_number) AS direction, arg_min(kind, file_row_number) AS kind "
            f"FROM {rows_of('examples', task)} WHERE {where} GROUP BY filename, pair, task"
        )
        found = select(
            self._connection,
            f"SELECT file, row, direction, kind, count(*) OVER () AS total FROM ({matching}) ORDER BY {order} "
            f"LIMIT {PAGE_PAIRS} OFFSET {start}",
            [score, *values],
        )
        if found:
            total = found[0]["total"]
        elif start:  # a page beyond the last one
            total = select(self._connection, f"SELECT count(*) AS n FROM ({matching})", [score, *values])[0]["n"]
        else:
            total = 0
        return total, [PairRows(file=f["file"], row=f["row"], shown=(f["direction"], f["kind"])) for f in found]

    def _rows(self, places: Sequence[PairRows]) -> list[dict[str, Any]]:
        """Rows as the view `pairs` has them, in the order of their places."""
        near: dict[str, set[int]] = {}
        for place in places:  # the row may be that of any of the pair's examples
            near.setdefault(place.file, set()).update(
                range(max(0, place.row - _MOST_EXAMPLES + 1), place.row + _MOST_EXAMPLES)
            )
        columns = ", ".join(MANIFEST.names)
        parts = [
            f"(SELECT {columns}, filename AS file, file_row_number AS row FROM read_parquet(?) "
            f"WHERE file_row_number IN ({', '.join(map(str, sorted(rows)))}))"
            for rows in near.values()
        ]
        found = select(self._connection, " UNION ALL ".join(parts) + " ORDER BY file, row", [*near]) if parts else []
        keys = {(row["file"], row["row"]): row["pair"] for row in found}
        of_pair: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in found:
            of_pair.setdefault((row["file"], row["pair"]), []).append(row)
        shown = [(place, of_pair[place.file, keys[place.file, place.row]]) for place in places if _at(place) in keys]
        return [{**_pair(rows), "shown": list(place.shown or _named(_examples(rows)[0]))} for place, rows in shown]


def _at(place: PairRows) -> tuple[str, int]:
    return place.file, place.row


def _turns(totals: Mapping[str, int], start: int) -> Iterator[tuple[str, int]]:
    """Task and position in it of the pairs from the `start`-th on, where tasks of so many pairs take turns."""

    def before(rank: int) -> int:
        return sum(min(total, rank) for total in totals.values())

    longest = max(totals.values(), default=0)
    rank = bisect_right(range(longest + 1), start, key=before) - 1
    skipped = start - before(rank)
    turns = ((task, turn) for turn in range(rank, longest) for task in sorted(totals) if totals[task] > turn)
    return itertools.islice(turns, skipped, None)


def _unit_of(units: Sequence[tuple[str, int]], position: int) -> tuple[str, int]:
    """The file of the unit that has the pair at a position of its task, and its position there."""
    for file, pairs in units:
        if position < pairs:
            return file, position
        position -= pairs
    raise AssertionError("positions are below the sum of the units' pairs")


def _pair(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the view `pairs`, of a pair's rows."""
    whole = {name: rows[0][name] for name in MANIFEST.names if name not in EXAMPLE_COLUMNS}
    return {**whole, "examples": _examples(rows)}


def _examples(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A pair's examples: forward before reverse, and what generates before what describes, as in the view `pairs`."""
    examples = [{name: row[name] for name in EXAMPLE_COLUMNS} for row in rows]
    return sorted(sorted(examples, key=lambda one: str(one["kind"]), reverse=True), key=lambda one: one["direction"])


def _named(example: Mapping[str, Any]) -> tuple[str, str]:
    return example["direction"], example["kind"]


# ---- parameters of requests --------------------------------------------------------------------------------------


def equal(query: Mapping[str, str], columns: tuple[str, ...]) -> tuple[list[str], list[Any]]:
    """Conditions, and their values, for the columns that a query names."""
    named = [column for column in columns if query.get(column)]
    return [f"{column} = ?" for column in named], [query[column] for column in named]


def refuse_other_task(query: Mapping[str, str], tasks: Collection[str]) -> None:
    """Raise BadRequest if a query names a task that is none of those shown."""
    if (task := query.get("task")) and task not in tasks:
        raise BadRequest(f"there is no task {task} here: it is one of {', '.join(tasks)}")


def number(query: Mapping[str, str], name: str, default: float) -> float:
    """A number of a query. Raises BadRequest."""
    try:
        return float(query.get(name) or default)
    except ValueError:
        raise BadRequest(f"{name} is not a number: {query[name]}") from None


def page_number(query: Mapping[str, str]) -> int:
    """The page's number, from 0. Raises BadRequest."""
    text = query.get("page", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadRequest(f"page is not a number: {text}")
    return int(text)
