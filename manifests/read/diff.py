"""What differs between two datasets of one task: pairs added, removed, changed or made anew, and in what.

Both sides are read shard by shard by the checked reader, into a database on a disk of this machine, which joins them
by the pairs' keys and gives back in the order of keys what is not the same. So memory does not grow with the datasets:
DuckDB's is bounded, and Python's is a shard's table and some hundred pairs.

A key is a hash of the source's bytes too. Where these changed, the keys of one item differ on the two sides: a pair
that one side alone has is matched by its source and source reference, if each side has one such pair, and is "made
anew".
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.dataset import Dataset
from manifests.read.pairs import EXAMPLE_COLUMNS, pair_starts
from manifests.schema import MANIFEST, DatasetError

Change = Literal["added", "removed", "changed", "made anew"]

_OF_THE_PAIR = ("source", "source_ref", "source_group", "licence", "parents", "scores")
_NAMES = {"source_group": "group"}
"""What columns are called where they are told of."""

_MEMORY = "512MB"
"""DuckDB's own, beyond which it goes on on the disk."""

_AT_ONCE = 256  # changed pairs that are Python objects at the same time
_STEPS = ("operator", "version", "params", "seed", "model", "model_revision", "prompt")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What became of one pair from the first dataset, `before`, to the second, `after`."""

    change: Change
    source_ref: str
    before: str | None
    """The key of the pair in the first dataset; None if it is added."""
    after: str | None
    """The key of the pair in the second dataset; None if it is removed."""
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """What differs -> its values in the first and in the second dataset, None where there is none: "image input" (its
    sha256), "instruction forward generate", "text forward describe", "example reverse generate" (there or not),
    "inputs ...", "output ...", "contexts ...", "score psnr", "step rain", "steps" (their order), "licence", "source",
    "source_ref", "group", "parents"."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many pairs there are on both sides, and how many are the same."""

    before: int
    after: int
    same_key: int
    """Pairs that both sides have by their key."""


class Diff:
    """Two datasets, ready to be compared as often as is asked. Made by `compared`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, counts: Counts) -> None:
        self._connection = connection
        self.counts = counts

    def differences(self) -> Iterator[Difference]:
        """All that differs, in the order of the first dataset's keys, of an added pair in that of its own."""
        cursor = self._connection.cursor()
        cursor.execute(_DIFFERING)
        names = [column[0] for column in cursor.description or ()]
        while rows := cursor.fetchmany(_AT_ONCE):
            for row in rows:
                if found := _difference(dict(zip(names, row, strict=True))):
                    yield found


@contextmanager
def compared(before: Dataset, after: Dataset) -> Iterator[Diff]:
    """The comparison of what two datasets of one task have committed, of whatever configuration and schema version.

    Raises DatasetError for a place that is no dataset, a manifest that cannot be read, and datasets of two tasks.
    """
    tasks = before.plan().task, after.plan().task
    if tasks[0] != tasks[1]:
        raise DatasetError(
            f"{before.url} is a dataset of {tasks[0]}, {after.url} one of {tasks[1]}: compare two of one"
        )
    with tempfile.TemporaryDirectory(prefix="xprompt-diff-") as folder:
        connection = duckdb.connect(str(Path(folder, "pairs.duckdb")))
        try:
            for setting in (
                f"memory_limit = '{_MEMORY}'",
                f"temp_directory = '{Path(folder, 'spilled')}'",
                "preserve_insertion_order = false",
                "enable_progress_bar = false",
            ):
                connection.execute(f"SET {setting}")
            for name, dataset in (("a", before), ("b", after)):
                _fill(connection, name, dataset)
            connection.execute(_MATCHED)
            counts = Counts(
                before=_count(connection, "a"),
                after=_count(connection, "b"),
                same_key=_count(connection, "matched WHERE before = after"),
            )
            yield Diff(connection, counts)
        finally:
            connection.close()


def _count(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    ((number,),) = connection.execute(f"SELECT count(*) FROM {what}").fetchall()
    return int(number)


def _fill(connection: duckdb.DuckDBPyConnection, name: str, dataset: Dataset) -> None:
    """A table of a dataset's pairs, one row a pair."""
    connection.register("unit", _pairs_of(MANIFEST.empty_table()))
    connection.execute(f"CREATE TABLE {name} AS FROM unit")
    for unit in dataset.unit_names():
        connection.register("unit", _pairs_of(dataset.table_of_unit(unit, MANIFEST.names)))
        connection.execute(f"INSERT INTO {name} FROM unit")
    connection.unregister("unit")
    twice = connection.execute(f"SELECT pair FROM {name} GROUP BY pair HAVING count(*) > 1 LIMIT 1").fetchall()
    if twice:
        raise DatasetError(f"{dataset.url} has the pair {twice[0][0]} twice: xprompt verify says where")


def _pairs_of(table: pa.Table) -> pa.Table:
    """The pairs of a manifest's table, with their examples in a list; of images what they are, not where they lie."""
    starts = pair_starts(table["pair"])
    examples = {name: _whole(table[name]) for name in EXAMPLE_COLUMNS}
    offsets = pa.array(np.append(starts, table.num_rows).astype(np.int32))
    listed = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([*examples.values()], [*examples]))
    first = pa.array(starts)
    return pa.table(
        {
            "pair": table["pair"].take(first),
            **{name: table[name].take(first) for name in _OF_THE_PAIR},
            "images": _only(table["images"].take(first), ("role", "sha256")),
            "steps": _only(table["steps"].take(first), _STEPS),
            "examples": listed,
        }
    )


def _only(column: pa.ChunkedArray, names: Sequence[str]) -> pa.Array:
    """A column of lists of structs with these fields of the structs alone."""
    lists = _whole(column)
    structs = lists.flatten()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    fields = [structs.field(name) for name in names]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(fields, [*names]))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


_MATCHED = """
CREATE TABLE matched AS
WITH by_key AS (SELECT a.pair AS before, b.pair AS after FROM a FULL JOIN b ON a.pair = b.pair),
lost AS (
    SELECT pair, source, source_ref, count(*) OVER (PARTITION BY source, source_ref) AS times
    FROM a WHERE pair IN (SELECT before FROM by_key WHERE after IS NULL)
),
new AS (
    SELECT pair, source, source_ref, count(*) OVER (PARTITION BY source, source_ref) AS times
    FROM b WHERE pair IN (SELECT after FROM by_key WHERE before IS NULL)
),
anew AS (
    SELECT lost.pair AS before, new.pair AS after FROM lost JOIN new USING (source, source_ref)
    WHERE lost.times = 1 AND new.times = 1
)
SELECT before, after FROM by_key WHERE before IS NOT NULL AND after IS NOT NULL
UNION ALL FROM anew
UNION ALL
SELECT before, after FROM by_key WHERE after IS NULL AND before NOT IN (SELECT before FROM anew)
UNION ALL
SELECT before, after FROM by_key WHERE before IS NULL AND after NOT IN (SELECT after FROM anew)
"""

_COMPARED = (*_OF_THE_PAIR, "images", "steps", "examples")
_DIFFERING = f"""
SELECT matched.before, matched.after,
       {", ".join(f"a.{name} AS a_{name}, b.{name} AS b_{name}" for name in _COMPARED)}
FROM matched LEFT JOIN a ON a.pair = matched.before LEFT JOIN b ON b.pair = matched.after
WHERE matched.before IS DISTINCT FROM matched.after
      OR {" OR ".join(f"a.{name} IS DISTINCT FROM b.{name}" for name in _COMPARED)}
ORDER BY coalesce(matched.before, matched.after), matched.after
"""


def _difference(row: Mapping[str, Any]) -> Difference | None:
    """What a row of both sides says; None if it says the same after all, in another order."""
    before, after = row["before"], row["after"]
    if before is None or after is None:
        side = "a" if after is None else "b"
        return Difference(
            change="removed" if after is None else "added",
            source_ref=row[f"{side}_source_ref"],
            before=before,
            after=after,
        )
    old, new = ({name: row[f"{side}_{name}"] for name in _COMPARED} for side in "ab")
    fields = dict(_fields(old, new))
    if not fields and before == after:
        return None
    change: Change = "changed" if before == after else "made anew"
    return Difference(change=change, source_ref=old["source_ref"], before=before, after=after, fields=fields)


def _fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The fields that differ, each by its name, with its two values."""
    yield from _unequal("image ", *({one["role"]: one["sha256"] for one in side["images"]} for side in (old, new)))
    examples = [{f"{one['direction']} {one['kind']}": one for one in side["examples"]} for side in (old, new)]
    for name in dict.fromkeys(itertools.chain(*examples)):
        first, second = (side.get(name) for side in examples)
        if first is None or second is None:
            yield f"example {name}", (first is not None, second is not None)
            continue
        for part in first:
            if not _same(first[part], second[part]):
                yield f"{part} {name}", (first[part], second[part])
    yield from _unequal("score ", dict(old["scores"]), dict(new["scores"]))
    yield from _steps(old["steps"], new["steps"])
    for name in _OF_THE_PAIR:
        if name != "scores" and old[name] != new[name]:
            yield _NAMES.get(name, name), (old[name], new[name])


def _unequal(before_name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in dict.fromkeys((*old, *new)):
        if not _same(old.get(name), new.get(name)):
            yield f"{before_name}{name}", (old.get(name), new.get(name))


def _same(old: Any, new: Any) -> bool:
    return bool(old == new) or (old != old and new != new)  # NaN, which no score of ours is, is the same as NaN


def _steps(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The operators whose steps differ; where none does, that they come in another order, if they do."""
    sides = [
        {name: [dict(step) for step in side if step["operator"] == name] for name in _names(side)}
        for side in (old, new)
    ]
    found = [*_unequal("step ", *sides)]
    if not found and _names(old, once=False) != _names(new, once=False):
        found = [("steps", (_names(old, once=False), _names(new, once=False)))]
    yield from found


def _names(steps: Sequence[Mapping[str, Any]], once: bool = True) -> list[str]:
    names = [step["operator"] for step in steps]
    return [*dict.fromkeys(names)] if once else names


@dataclass
class Summary:
    """How many differences there are, by what became of the pair and by field."""

    changes: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)

    def add(self, difference: Difference) -> None:
        self.changes[difference.change] += 1
        self.fields.update([*difference.fields])

    def same(self, counts: Counts) -> int:
        """How many pairs are the same on both sides."""
        return counts.same_key - self.changes["changed"]
