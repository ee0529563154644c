"""Reads a dataset directory: its rows as tables, its pairs in order or by key. `manifests.dataset.Dataset` is one.

Readers see what is committed when they look. A unit's manifest is read whole (one request), a shard by places only.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.images.pixels import Pixels
from manifests.parquet import ParquetFile, refuse_large_pages
from manifests.read.pairs import Rows, StoredPair, pair_starts
from manifests.read.places import url_at
from manifests.read.shards import Shards, verify_hint
from manifests.records import Plan, read_plan
from manifests.remote import is_outage
from manifests.schema import MANIFEST, DatasetError
from manifests.storage import Store
from manifests.tables import check_columns
from manifests.versions import read_manifest, schema_of

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 1_024  # that are Python objects at the same time
_TABLES = 8  # manifests that are kept for the next pair that is asked for by key, some MB each


class Reader:
    """The reading half of a dataset directory, local or at any fsspec URL. It may be pickled and forked."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url).rstrip("/")
        self.store = Store(self.url, sealed=True)
        self._forget()

    def _forget(self) -> None:
        self.shards = Shards(self.url, self.store)
        self._index: _Index | None = None
        self._others: dict[str, Reader] = {}
        self._table = lru_cache(_TABLES)(self._read_table)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "store": self.store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.url, self.store = state["url"], state["store"]
        self._forget()

    def unit_names(self) -> list[str]:
        """The names of the committed units, in order. Raises DatasetError if this is no dataset directory."""
        self._require_plan()
        return [name for _, name in self._manifests()]

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of the manifest, one for each example, as dictionaries; of all columns or of those named.

        Raises DatasetError if there is no dataset or a manifest cannot be read, ValueError for an unknown column.
        """
        for table in self._tables(columns):
            for batch in table.to_batches(_ROWS_AT_ONCE):
                yield from batch.to_pylist(maps_as_pydicts="lossy")

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of the manifest as one Arrow table, of all columns or of those named. Raises as `rows` does."""
        tables = list(self._tables(columns))
        if not tables:
            return MANIFEST.empty_table().select(list(columns or MANIFEST.names))
        return pa.concat_tables(tables)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows of the manifest as a pandas DataFrame, of all columns or of those named. Raises as `rows` does."""
        return self.to_arrow(columns).to_pandas(maps_as_pydicts="lossy")

    def pairs(self) -> Iterator[StoredPair]:
        """The pairs in stored order. Their images and texts are read when they are asked for.

        Raises DatasetError if there is no dataset or a manifest cannot be read.
        """
        for name in self.unit_names():
            yield from self.pairs_of(name)

    def pairs_of(self, unit: str) -> list[StoredPair]:
        """The pairs of one committed unit, in stored order. Raises as `pairs` does."""
        return self._rows_of(self._read_table(unit)).pairs()

    def table_of(self, unit: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of the manifest of one committed unit. Raises as `pairs` does."""
        return self._read_table(unit, columns)

    __iter__ = pairs

    def __getitem__(self, key: str) -> StoredPair:
        """The pair of a key. Raises KeyError if there is none."""
        place = self._find(key)
        if place is None:
            raise KeyError(f"no pair {key} in {self.url}")
        name, start, stop = place
        (pair,) = self._rows_of(self._table(name).slice(start, stop - start)).pairs()
        return pair

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not None

    def image(self, key: str, role: str) -> Pixels:
        """One image of the pair of a key, as upright 8-bit RGB, H x W x 3. Raises as `StoredPair.image` does."""
        return self[key].image(role)

    def image_bytes(self, key: str, role: str) -> bytes:
        """The stored file of one image of the pair of a key. Raises as `StoredPair.image_bytes` does."""
        return self[key].image_bytes(role)

    def table_of_unit(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of a unit's manifest. Raises DatasetError, naming the file, if it cannot be read."""
        return self._read_table(name, columns)

    def rows_of_pair(self, table: pa.Table, row: int) -> tuple[StoredPair, int]:
        """The pair of a row of a unit's table, and the place of the row among the pair's examples."""
        keys = table["pair"]
        key, start, stop = keys[row], row, row + 1
        while start > 0 and keys[start - 1] == key:
            start -= 1
        while stop < table.num_rows and keys[stop] == key:
            stop += 1
        (pair,) = self._rows_of(table.slice(start, stop - start)).pairs()
        return pair, row - start

    def rows_in(self, name: str) -> int:
        """The number of rows, which are examples, of a unit's manifest, from its footer."""
        try:
            with self.store.open(f"manifest/{name}.parquet") as file:
                return int(ParquetFile(file).metadata.num_rows)
        except (pa.ArrowException, OSError) as error:
            if is_outage(error):
                raise
            raise self._damaged(name, error) from None

    def plan(self) -> Plan:
        """The plan's metadata. Raises DatasetError if there is none, or none of ours."""
        self._require_plan()
        return read_plan(self.store, self.url)

    def _manifests(self) -> Iterator[tuple[int, str]]:
        """Unit and name of each manifest of a planned unit, in order; what else lies in the folder is not ours.

        A directory without a plan has none.
        """
        files = self.store.names("manifest")
        if not files or not self.store.exists("plan.parquet"):
            return
        plan = self.plan()
        for unit in sorted(unit for file in files if (unit := plan.unit_of(file, ".parquet")) is not None):
            yield unit, plan.name(unit)

    def _require_plan(self) -> None:
        if self.store.exists("plan.parquet"):
            return
        below = [name for name in self.store.names("") if self.store.exists(f"{name}/plan.parquet")]
        hint = f"; the datasets {', '.join(below)} are in it: name one of them" if below else ""
        raise DatasetError(f"{self.url} is not a dataset directory: it has no plan.parquet{hint}")

    def _tables(self, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        if unknown := [column for column in columns or () if column not in MANIFEST.names]:
            raise ValueError(f"no column {', '.join(unknown)}: a manifest has {', '.join(MANIFEST.names)}")
        for name in self.unit_names():
            yield self._read_table(name, columns)

    def _read_table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            data = self.store.read(f"manifest/{name}.parquet")
            file = ParquetFile(io.BytesIO(data))
            check_columns(file.schema_arrow, schema_of(file.schema_arrow))
            refuse_large_pages(data, file.metadata)
            table = read_manifest(file, columns)
            table.validate(full=True)
        except (pa.ArrowException, OSError, DatasetError) as error:
            if is_outage(error):
                raise
            raise self._damaged(name, error) from None
        return table.replace_schema_metadata(None).combine_chunks()

    def _damaged(self, name: str, error: Exception) -> DatasetError:
        message = " ".join(str(error).split())
        return DatasetError(f"{self.url}/manifest/{name}.parquet cannot be read: {message}; {verify_hint(self.url)}")

    def _rows_of(self, table: pa.Table) -> Rows:
        return Rows(table, self.shards, self.url, self._pair_of)

    def _pair_of(self, place: str | None, key: str) -> StoredPair:
        """The pair of a key in this dataset or, if a place is named, in the dataset that lies there."""
        if place is None:
            return self[key]
        if place not in self._others:
            self._others[place] = Reader(url_at(self.url, place))
        return self._others[place][key]

    def _index_of(self, names: tuple[str, ...]) -> _Index:
        try:
            return _Index.of(names, (self._read_table(name, ["pair"])["pair"] for name in names))
        except DatasetError:
            raise
        except ValueError as error:
            raise DatasetError(
                f"{self.url}/manifest has a pair whose key is not of hex digits: {error}; {verify_hint(self.url)}"
            ) from None

    def _find(self, key: str) -> tuple[str, int, int] | None:
        """The unit, first row and end of the rows of a key's pair."""
        names = tuple(self.unit_names()) if self._index is None else self._index.names
        for _ in range(2):
            if self._index is None or self._index.names != names:
                self._index = self._index_of(names)
            for unit, start, stop in self._index.find(key):
                if self._table(names[unit])["pair"][start].as_py() == key:
                    return names[unit], start, stop
            names = tuple(self.unit_names())  # more may have been committed since
            if names == self._index.names:
                return None
        return None


@dataclass(frozen=True, kw_only=True)
class _Index:
    """Where each pair's rows are, by the first 64 bits of its key: 24 bytes a pair."""

    names: tuple[str, ...]
    heads: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int32]
    """Unit, first row and end of rows of each pair, in the order of `heads`, which ascend."""

    @classmethod
    def of(cls, names: tuple[str, ...], columns: Iterator[pa.ChunkedArray]) -> _Index:
        heads, places = [np.empty(0, np.uint64)], [np.empty((0, 3), np.int32)]
        for unit, keys in enumerate(columns):
            starts = pair_starts(keys)
            first = keys.take(pa.array(starts)).to_pylist()
            heads.append(np.array([_head(key) for key in first], np.uint64))
            stops = np.append(starts, len(keys))[1:]
            places.append(np.stack([np.full_like(starts, unit), starts, stops], axis=1).astype(np.int32))
        whole = np.concatenate(heads)
        order = np.argsort(whole, kind="stable")
        return cls(names=names, heads=whole[order], places=np.concatenate(places)[order])

    def find(self, key: str) -> Iterator[tuple[int, int, int]]:
        """The places of all keys that begin as this one does."""
        try:
            head = np.uint64(_head(key))
        except ValueError:
            return
        for position in itertools.count(int(np.searchsorted(self.heads, head))):
            if position >= len(self.heads) or self.heads[position] != head:
                return
            unit, start, stop = self.places[position].tolist()
            yield unit, start, stop


def _head(key: str) -> int:
    return int(key[:16], 16)
