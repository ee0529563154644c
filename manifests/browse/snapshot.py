"""What the page asks of the units that were committed at one moment.

Filters and pages are DuckDB's work, so a page costs the same memory whatever the dataset's size.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from manifests.browse.asked import equal, number, page_number
from manifests.browse.images import Place
from manifests.browse.rejects import Rejects
from manifests.dataset import find_datasets
from manifests.read.query import connect, datasets_by_task, overview, select

PAGE_EXAMPLES = 24
_REMEMBERED_PAIRS = 4_096  # where their images are; about 1 KB each, and a page's pairs are asked for at once

_ORDERS = {"low": "scores[?] ASC, pair, direction, kind", "high": "scores[?] DESC, pair, direction, kind"}


class Snapshot:
    """The units that were committed at one moment."""

    def __init__(self, url: str) -> None:
        self.datasets = datasets_by_task(url)
        self.committed = committed_units(url)
        self.connection = connect(url)
        self.rejects = Rejects(self.connection, self.datasets)
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

    def examples(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of examples in stored order, or by a score."""
        conditions, values = equal(query, ("task", "direction", "kind"))
        if text := query.get("text"):
            conditions.append("contains(lower(instruction), lower(?))")
            values.append(text)
        score = query.get("score")
        if score:
            conditions.append("scores[?] BETWEEN ? AND ?")
            low, high = number(query, "min", float("-inf")), number(query, "max", float("inf"))
            values += [score, low, high]
        where = " AND ".join(conditions) or "true"
        order, by = "", []
        if score and query.get("order") in _ORDERS:
            order, by = f"ORDER BY {_ORDERS[query['order']]}", [score]
        total = select(self.connection, f"SELECT count(*) AS total FROM examples WHERE {where}", values)
        rows = select(
            self.connection,
            f"SELECT * FROM examples WHERE {where} {order} LIMIT {PAGE_EXAMPLES} OFFSET ?",
            [*values, *by, page_number(query) * PAGE_EXAMPLES],
        )
        for row in rows:
            self._remember(row)
        return {"total": total[0]["total"], "page_size": PAGE_EXAMPLES, "rows": rows}

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
