"""What the page asks of the units that were committed at one moment.

Filters and pages are DuckDB's work, so a page costs the same memory whatever the dataset's size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from manifests.browse.images import Place
from manifests.browse.pairs import BadRequest, Only, Pairs
from manifests.browse.rejects import Rejects
from manifests.choose.agreement import BadGate
from manifests.choose.decisions import BadDecision
from manifests.dataset import Dataset, DatasetError, find_datasets
from manifests.read.query import connect, datasets_by_task, overview, select
from manifests.read.sql_pool import SqlError

Marks = dict[str, tuple[Any, ...]]
"""By unit: what tells its files from others of the same names."""

_FILES = (("manifest", ".parquet"), ("rejects", ".parquet"), ("shards", ".tar"))
_NOT_OF_THE_DISK = (BadRequest, BadDecision, BadGate, ConnectionError, TimeoutError)
"""What fails whatever has become of the datasets."""

_FOUND_AT_ONCE = 100_000
_REMEMBERED_PAIRS = 4_096  # where their images are; about 1 KB each, and a page's pairs are asked for at once
_WHOLE_PAIRS = 64


class Changed(DatasetError):
    """Files that a snapshot was made of are gone, or are others by now."""


class Snapshot:
    """The units that were committed at one moment."""

    def __init__(self, url: str) -> None:
        self.datasets = datasets_by_task(url)
        self.committed = committed_units(url)
        self.connection = connect(url)
        self.pairs = Pairs(self.datasets, {url: [*units] for url, units in self.committed.items()}, self.connection)
        self.rejects = Rejects(self.connection, self.datasets)
        self._places: dict[str, Mapping[str, Any]] = {}
        self._pairs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Where what a block does fails, look whether the files are still those that were committed at that moment.

        Raises Changed, naming the datasets, if they are not; else what the block raises.
        """
        try:
            yield
        except _NOT_OF_THE_DISK:
            raise
        except Exception as error:
            is_a_slip = isinstance(error, SqlError) and error.place is not None  # of who wrote the statement
            if not is_a_slip and (tasks := self._changed()):
                were = "was" if len(tasks) == 1 else "were"
                raise Changed(
                    f"{', '.join(tasks)} {were} removed or made anew since this page was opened: reload the page"
                ) from error
            raise

    def _changed(self) -> list[str]:
        """The tasks of which files are gone or others."""
        return [
            task
            for task, dataset in self.datasets.items()
            if _marks(dataset, units := self.committed[dataset.url]) != units
        ]

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
        rows = self.pairs.named(keys, self._tasks_of(keys))
        for row in rows:
            self._remember(row)
        return rows

    def shown(self, pairs: Sequence[str]) -> list[str]:
        """Those of some pairs that are among the units."""
        found: list[str] = []
        for start in range(0, len(pairs), _FOUND_AT_ONCE):
            some = pairs[start : start + _FOUND_AT_ONCE]
            found += self.pairs.find(some, self._tasks_of(some))
        return found

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

    def _tasks_of(self, keys: Iterable[str]) -> Iterator[str]:
        """The tasks of those of some pairs that are remembered."""
        return (place["task"] for key in keys if (place := self._places.get(key)))

    def _remember(self, row: Mapping[str, Any]) -> None:
        place = {name: row[name] for name in ("task", "shard", "images")}
        with self._lock:
            _keep(self._places, row["pair"], place, _REMEMBERED_PAIRS)


def _keep(kept: dict[str, Any], key: str, value: Any, most: int) -> None:
    """Keep a value, and forget the oldest if there are more than so many."""
    kept[key] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def committed_units(url: str) -> dict[str, Marks]:
    """The committed units by the URL of their dataset: no file of one is opened."""
    return {dataset.url: _marks(dataset, dataset.unit_names()) for dataset in find_datasets(url)}


def _marks(dataset: Dataset, units: Iterable[str]) -> Marks:
    """Of some units; None stands for a file that is not there."""
    folders = [(dataset.store.marks(folder), ending) for folder, ending in _FILES]
    return {unit: tuple(marks.get(f"{unit}{ending}") for marks, ending in folders) for unit in units}
