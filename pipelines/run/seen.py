"""What a source's files were when a dataset was planned, and whether they still are.

    seen.parquet      for each row of plan.parquet, a stamp of each of the item's files (SourceFile.stamp)

A plan says which items there are and how many bytes they have. By the stamps a file is known that was written to since
and has the same size: when a run goes on, and before a unit is committed. No clock is asked: a file may be dated as it
likes.

A file that has gone since is the loss of one item, a reject. Where a whole folder or disk has gone no item is to blame:
the unit fails, and is made when the source is back.
"""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from manifests.dataset import SEEN, Dataset, DatasetError, Plan, write_table
from manifests.parquet import ParquetFile
from manifests.records import METADATA
from manifests.schema import Item, Pair
from operators.read.files import IMAGE_ENDINGS, SourceFile, ending, files_now, is_empty
from pipelines.run.chain import Rejected

IN_A_ROW = 8
"""If so many items of a unit in a row have gone, nobody has removed a single file."""

_SCHEMA = pa.schema([pa.field("unit", pa.int32(), False), pa.field("stamps", pa.list_(pa.string()), False)])
_ROW_GROUP_ITEMS = 16_384


def remember(
    dataset: Dataset,
    plan: Plan,
    root: str,
    listing: Sequence[SourceFile],
    units: Sequence[Sequence[Item]],
    *,
    planned: bool,
) -> None:
    """Write down what the files of a plan's items are, or hold them against what an earlier run has written down.

    `planned` says whether an earlier run has made the plan. Raises DatasetError, naming the file, if one of a unit that
    is not committed has changed since.
    """
    committed = dataset.committed()
    if len(committed) == plan.units:  # nothing more is read from the source
        return
    then, now = _written(dataset, plan), _table(listing, units)
    if then is None:
        if planned:
            _refuse_later(dataset, root, listing)
        groups = range(_ROW_GROUP_ITEMS, now.num_rows, _ROW_GROUP_ITEMS)
        write_table(dataset.store, SEEN, now, {"fingerprint": plan.fingerprint}, groups)
    elif not then.equals(now):
        stamps = zip(then.column("stamps").to_pylist(), now.column("stamps").to_pylist(), strict=True)
        for unit, items in enumerate(units):
            for item, (before, after) in zip(items, stamps, strict=False):
                if before != after and unit not in committed:
                    which = next(place for place, stamp in enumerate(before) if stamp != after[place])
                    raise DatasetError(_modified(dataset, f"{root}/{item.files[which]}"))


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The source's files of one unit, while it is made."""

    dataset: Dataset
    plan: Plan
    root: str
    """That of the reader, below which the files are."""
    unit: int
    items: Sequence[Item]

    def refuse_vanished(self, positions: Iterable[int], made: Iterable[Pair | Rejected]) -> None:
        """Look at the items, at some positions of the unit, that were rejected because a file was not found.

        Raises OSError where more than that file was gone: if it is there again, if its folder has gone or is empty now,
        or if IN_A_ROW items in a row have gone.
        """
        for position, one in zip(positions, made, strict=True):
            if isinstance(one, Rejected) and (one.step, one.reject.reason) == ("read", "missing"):
                self._refuse_vanished(position)

    def refuse_changed(self, kept: Iterable[bool]) -> None:
        """Raises OSError if a file was written to since it was planned. `kept` says which items became pairs.

        A file that is no image by its name and was rejected may be: a log that is written beside the photos.
        """
        planned: dict[str, str] = {}
        for item, stamps, is_pair in zip(self.items, self._stamps, kept, strict=True):
            for path, stamp in zip(item.files, stamps, strict=True):
                if stamp and (is_pair or ending(path) in IMAGE_ENDINGS):
                    planned[path] = stamp
        for path, now in zip(planned, files_now(self.root, planned), strict=True):
            if now and now.stamp != planned[path]:
                raise OSError(_modified(self.dataset, f"{self.root}/{path}"))

    @cached_property
    def _stamps(self) -> Sequence[Sequence[str]]:
        """For each item the stamps of its files as they were planned; "" where that was not written down."""
        table = _written(self.dataset, self.plan, self.unit)
        if table is None:
            return [[""] * len(item.files) for item in self.items]
        stamps: list[list[str]] = table.column("stamps").to_pylist()
        return stamps

    def _refuse_vanished(self, position: int) -> None:
        planned = self._planned(position)
        if not planned:
            return
        gone = self._gone(position)
        if not gone:
            raise OSError(f"{self.root}/{planned[0]} was not found and is there again: DATA comes and goes")
        folder = posixpath.dirname(gone)
        if is_empty(self.root, folder):
            raise OSError(f"{f'{self.root}/{folder}'.rstrip('/')} has gone or is empty, where DATA had {gone}")
        count = len(self.items)
        others = [(position + step) % count for step in range(1, min(IN_A_ROW, count))]
        if others and all(self._gone(other) for other in others):
            raise OSError(f"{self.root}/{gone} has gone, as have the {len(others)} that were planned after it")

    def _planned(self, position: int) -> Sequence[str]:
        """An item's files, if all of them could be read when it was planned; else none."""
        files = [
            (path, stamp)
            for path, stamp in zip(self.items[position].files, self._stamps[position], strict=True)
            if path
        ]
        return [path for path, _ in files] if all(stamp for _, stamp in files) else []

    def _gone(self, position: int) -> str:
        """The first of an item's planned files that has gone, "" if none has."""
        planned = self._planned(position)
        return next((path for path, now in zip(planned, files_now(self.root, planned), strict=True) if not now), "")


def _table(listing: Sequence[SourceFile], units: Sequence[Sequence[Item]]) -> pa.Table:
    """The rows of seen.parquet."""
    stamps = {file.path: file.stamp for file in listing}
    columns = [
        pa.array([number for number, unit in enumerate(units) for _ in unit], pa.int32()),
        pa.array(
            ([stamps.get(path, "") for path in item.files] for unit in units for item in unit), pa.list_(pa.string())
        ),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _written(dataset: Dataset, plan: Plan, unit: int | None = None) -> pa.Table | None:
    """What was written down of a plan's items, or of those of one unit; None if there is nothing of this plan."""
    try:
        with dataset.store.open(SEEN) as opened:
            file = ParquetFile(opened)
            if json.loads(file.schema_arrow.metadata[METADATA])["fingerprint"] != plan.fingerprint:
                return None
            groups = [number for number in range(file.num_row_groups) if _may_hold(file, number, unit)]
            table = file.read_row_groups(groups)
    except FileNotFoundError:
        return None
    return table if unit is None else table.filter(pc.field("unit") == unit)


def _may_hold(file: ParquetFile, group: int, unit: int | None) -> bool:
    units = file.metadata.row_group(group).column(0).statistics
    return unit is None or units.min <= unit <= units.max


def _refuse_later(dataset: Dataset, root: str, listing: Sequence[SourceFile]) -> None:
    """Raises DatasetError for a file that was written after the plan: all that can be said where nothing was written
    down, as when a unit of a finished dataset is made anew. What is dated in the future tells nothing.
    """
    if not dataset.store.is_local:
        return
    planned_s, now_s = Path(dataset.store.path("plan.parquet")).stat().st_mtime, time.time()
    for file in listing:
        if planned_s < file.modified_s <= now_s:
            raise DatasetError(_modified(dataset, f"{root}/{file.path}"))


def _modified(dataset: Dataset, file: str) -> str:
    return (
        f"{file} was modified after {dataset.url}/plan.parquet was made. "
        "Choose another OUT, or remove that directory to start anew."
    )
