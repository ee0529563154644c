"""What the page asks of the units that were committed at one moment.

Filters and pages are DuckDB's work, so a page costs the same memory whatever the dataset's size.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from manifests.browse.images import Place
from manifests.dataset import find_datasets
from manifests.read.query import MAX_RESULT_BYTES, TIMEOUT_S, connect, datasets_by_task, overview, select

PAGE_EXAMPLES = 24
PAGE_REJECTS = 100
_REMEMBERED_PAIRS = 4_096  # where their images are; about 1 KB each, and a page's pairs are asked for at once

_ORDERS = {"low": "scores[?] ASC, pair, direction, kind", "high": "scores[?] DESC, pair, direction, kind"}


class BadRequest(ValueError):
    """A parameter of a request that cannot be used."""


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


class Snapshot:
    """The units that were committed at one moment."""

    def __init__(self, url: str) -> None:
        self.datasets = datasets_by_task(url)
        self.committed = committed_units(url)
        self.connection = connect(url)
        self._places: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    @cached_property
    def overview(self) -> list[dict[str, Any]]:
        return [overview(dataset) for dataset in self.datasets.values()]

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        return select(
            self.connection,
            "SELECT task, score.key AS name, min(score.value) AS min, max(score.value) AS max "
            "FROM (SELECT task, unnest(map_entries(scores)) AS score FROM examples) GROUP BY ALL ORDER BY ALL",
        )

    def examples(self, query: Mapping[str, str], only: Only | None = None) -> dict[str, Any]:
        """A page of examples in stored order, or by a score; of all pairs, or of some."""
        conditions, values = _equal(query, ("task", "direction", "kind"))
        if only:
            conditions.append(only.sql)
            values.append([*only.keys])
        if text := query.get("text"):
            conditions.append("contains(lower(instruction), lower(?))")
            values.append(text)
        score = query.get("score")
        if score:
            conditions.append("scores[?] BETWEEN ? AND ?")
            low, high = _number(query, "min", float("-inf")), _number(query, "max", float("inf"))
            values += [score, low, high]
        where = " AND ".join(conditions) or "true"
        order, by = "", []
        if score and query.get("order") in _ORDERS:
            order, by = f"ORDER BY {_ORDERS[query['order']]}", [score]
        total = select(self.connection, f"SELECT count(*) AS total FROM examples WHERE {where}", values)
        rows = select(
            self.connection,
            f"SELECT * FROM examples WHERE {where} {order} LIMIT {PAGE_EXAMPLES} OFFSET ?",
            [*values, *by, _page(query) * PAGE_EXAMPLES],
        )
        for row in rows:
            self._remember(row)
        return {"total": total[0]["total"], "page_size": PAGE_EXAMPLES, "rows": rows}

    def rejects(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of rejects, with the counts of all by reason."""
        conditions, values = _equal(query, ("task", "reason"))
        where = " AND ".join(conditions) or "true"
        return {
            "total": select(self.connection, f"SELECT count(*) AS n FROM rejects WHERE {where}", values)[0]["n"],
            "page_size": PAGE_REJECTS,
            "reasons": select(
                self.connection,
                "SELECT task, operator, reason, count(*) AS items FROM rejects GROUP BY ALL "
                "ORDER BY items DESC, task, operator, reason",
            ),
            "rows": select(
                self.connection,
                f"SELECT * FROM rejects WHERE {where} LIMIT {PAGE_REJECTS} OFFSET ?",
                [*values, _page(query) * PAGE_REJECTS],
            ),
        }

    def shown(self, pairs: Sequence[str]) -> list[str]:
        """Those of some pairs that are among the units."""
        if not pairs:
            return []
        result = self.connection.run(
            f"SELECT DISTINCT pair FROM examples WHERE {Only(keys=pairs, inside=True).sql}",
            [[*pairs]],
            is_foreign=False,
            max_rows=len(pairs),
            max_bytes=MAX_RESULT_BYTES,
            timeout_s=TIMEOUT_S,
        )
        return [row[0] for row in result.rows]

    def pair(self, key: str) -> dict[str, Any] | None:
        """One pair with all its examples."""
        rows = select(self.connection, "SELECT * FROM pairs WHERE pair = ?", [key])
        return rows[0] if rows else None

    def place(self, key: str, role: str) -> Place | None:
        """Where a pair's image is, if manifests name one."""
        known = self._places.get(key)
        if known is None:
            rows = select(
                self.connection, "SELECT pair, task, shard, images FROM examples WHERE pair = ? LIMIT 1", [key]
            )
            if not rows:
                return None
            known = self._remember(rows[0])
        image = next((image for image in known["images"] if image["role"] == role), None)
        dataset = self.datasets.get(known["task"])
        return Place(dataset=dataset, shard=known["shard"], image=image) if image and dataset else None

    def _remember(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        place = {name: row[name] for name in ("task", "shard", "images")}
        with self._lock:
            self._places[row["pair"]] = place
            if len(self._places) > _REMEMBERED_PAIRS:
                del self._places[next(iter(self._places))]
        return place


def committed_units(url: str) -> dict[str, list[str]]:
    """Names of the committed units by dataset: listings, no file is opened."""
    return {dataset.url: dataset.unit_names() for dataset in find_datasets(url)}


def _equal(query: Mapping[str, str], columns: tuple[str, ...]) -> tuple[list[str], list[Any]]:
    """Conditions, and their values, for the columns that the query names."""
    named = [column for column in columns if query.get(column)]
    return [f"{column} = ?" for column in named], [query[column] for column in named]


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(query.get(name) or default)
    except ValueError:
        raise BadRequest(f"{name} is not a number: {query[name]}") from None


def _page(query: Mapping[str, str]) -> int:
    """The page's number, from 0."""
    text = query.get("page", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadRequest(f"page is not a number: {text}")
    return int(text)
