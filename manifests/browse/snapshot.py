"""What the page asks of the units that were committed at one moment.

Filters and pages are DuckDB's work, so a page costs the same memory whatever the dataset's size.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from manifests.browse.images import Place
from manifests.browse.pairs import Only, Pairs
from manifests.browse.rejects import Rejects
from manifests.dataset import Dataset, find_datasets
from manifests.read.query import MAX_RESULT_BYTES, TIMEOUT_S, connect, datasets_by_task, overview, select

_REMEMBERED_PAIRS = 4_096  # where their images are; about 1 KB each, and a page's pairs are asked for at once
_WHOLE_PAIRS = 64


class Snapshot:
    """The units that were committed at one moment."""

    def __init__(self, url: str) -> None:
        self.datasets = datasets_by_task(url)
        self.committed = committed_units(url)
        self.connection = connect(url)
        self.pairs = Pairs(self.datasets, {url: names for url, (names, _) in self.committed.items()}, self.connection)
        self.rejects = Rejects(self.connection, self.datasets)
        self._places: dict[str, Mapping[str, Any]] = {}
        self._pairs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    @cached_property
    def overview(self) -> list[dict[str, Any]]:
        return [overview(dataset) for dataset in self.datasets.values()]

    @cached_property
    def scores(self) -> list[dict[str, Any]]:
        return select(
            self.connection,
            "SELECT task, score.key AS name, min(score.value) AS min, max(score.value) AS max "
            "FROM (SELECT task, unnest(map_entries(scores)) AS score FROM examples) "
            "WHERE isfinite(score.value) GROUP BY ALL ORDER BY ALL",
        )

    def page(self, query: Mapping[str, str], only: Only | None = None) -> dict[str, Any]:
        """A page of pairs: see `Pairs.page`."""
        found = self.pairs.page(query, only)
        for row in found["rows"]:
            self._remember(row)
        return found

    def named(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The pairs of some keys: see `Pairs.named`."""
        rows = self.pairs.named(keys)
        for row in rows:
            self._remember(row)
        return rows

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
        """One pair with all its examples. It is remembered for a while: each part of its page asks for it."""
        if known := self._pairs.get(key):
            return known
        found = next(iter(self.named([key])), None)
        if found:
            with self._lock:
                _keep(self._pairs, key, found, _WHOLE_PAIRS)
        return found

    def place(self, key: str, role: str) -> Place | None:
        """Where a pair's image is, if manifests name one."""
        known: Mapping[str, Any] | None = self._places.get(key) or self.pair(key)
        if known is None:
            return None
        image = next((image for image in known["images"] if image["role"] == role), None)
        dataset = self.datasets.get(known["task"])
        return Place(dataset=dataset, shard=known["shard"], image=image) if image and dataset else None

    def _remember(self, row: Mapping[str, Any]) -> None:
        place = {name: row[name] for name in ("task", "shard", "images")}
        with self._lock:
            _keep(self._places, row["pair"], place, _REMEMBERED_PAIRS)


def _keep(kept: dict[str, Any], key: str, value: Any, most: int) -> None:
    """Keep a value, and forget the oldest if there are more than so many."""
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def committed_units(url: str) -> dict[str, tuple[list[str], tuple[int, int]]]:
    """Names of the committed units by dataset, and when a local one's were last written: no file is opened."""
    return {dataset.url: (dataset.unit_names(), _written(dataset)) for dataset in find_datasets(url)}


def _written(dataset: Dataset) -> tuple[int, int]:
    """What changes when a unit's manifest is written or removed, by which one of the same name is told from another."""
    if not dataset.store.is_local:
        return 0, 0
    with suppress(FileNotFoundError):
        status = os.stat(dataset.store.path("manifest"))
        return status.st_ino, status.st_mtime_ns
    return 0, 0
