"""Tables of earlier versions, read as those of today.

In version 1 an example had one in-context example at the most; up to version 2 a reject had no pictures. Which version
a table is of, its columns say: choosing in-context examples anew rewrites parts as they are today, in a dataset that
was planned by version 1.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.parquet import ParquetFile
from manifests.schema import CONTEXT, MANIFEST, REJECTS, TEXT_REJECTS

READ = (1, 2, 3)
"""The schema versions that are read."""

_CONTEXT = {"context_pair": "pair", "context_dataset": "dataset", "context_score": "score"}
"""What version 1 has as columns, version 2 has in each entry of `contexts`."""

_NAMES = [
    *MANIFEST.names[: MANIFEST.get_field_index("contexts")],
    *("context_pair", "context_dataset", "context_method", "context_score"),
    *MANIFEST.names[MANIFEST.get_field_index("context_method") + 1 :],
]

MANIFEST_1 = pa.schema(
    [
        pa.field(name, CONTEXT.field(_CONTEXT[name]).type) if name in _CONTEXT else MANIFEST.field(name)
        for name in _NAMES
    ]
)
"""The columns of a manifest of version 1."""


REJECTS_2 = TEXT_REJECTS
"""The columns of rejects up to version 2."""


def schema_of(there: pa.Schema) -> pa.Schema:
    """The schema that a manifest with these columns is to have: version 1's if it has that one's, else today's."""
    is_old = "contexts" not in there.names and "context_pair" in there.names
    return MANIFEST_1 if is_old else MANIFEST


def rejects_schema_of(there: pa.Schema) -> pa.Schema:
    """The schema that rejects with these columns are to have: version 2's if they have no pictures, else today's."""
    return REJECTS_2 if not {"shard", "pictures"} & {*there.names} else REJECTS


def with_pictures(table: pa.Table, shard: str) -> pa.Table:
    """Rejects of the unit of a shard with the columns that version 2 has not, which say that there are no pictures."""
    if table.schema.get_field_index("pictures") >= 0:
        return table
    pictures = REJECTS.field("pictures")
    return table.append_column(REJECTS.field("shard"), pa.array([shard] * table.num_rows, pa.string())).append_column(
        pictures, pa.array([[]] * table.num_rows, pictures.type)
    )


def read_manifest(file: ParquetFile, columns: Sequence[str] | None = None) -> pa.Table:
    """Some of today's columns of a manifest, or all, in the order asked for. Raises as `ParquetFile.read` does."""
    if schema_of(file.schema_arrow) is MANIFEST:
        return file.read(columns)
    return with_contexts(file.read(_stored(columns))).select([*(columns or MANIFEST.names)])


def with_contexts(table: pa.Table) -> pa.Table:
    """Rows of a manifest with the column `contexts` in the place of those that version 1 has; others as they are."""
    if not set(_CONTEXT) <= set(table.column_names):
        return table
    pairs, datasets, scores = (table[name].combine_chunks() for name in _CONTEXT)
    has = pairs.is_valid()
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pa.array(has.to_numpy(False).cumsum(), pa.int32())])
    entries = pa.StructArray.from_arrays(
        [one.filter(has) for one in (pairs, datasets, scores)], fields=[*CONTEXT.fields]
    )
    contexts = pa.ListArray.from_arrays(ends, entries, MANIFEST.field("contexts").type)
    place = table.column_names.index("context_pair")
    return table.drop_columns([*_CONTEXT]).add_column(place, MANIFEST.field("contexts"), contexts)


def as_today(manifest: bytes) -> bytes:
    """A manifest's file of version 1 as one that has today's columns, without the metadata of ours."""
    return _file_of(read_manifest(ParquetFile(io.BytesIO(manifest))).cast(MANIFEST))


def rejects_as_today(rejects: bytes, shard: str) -> bytes:
    """A file of version 2 with the rejects of the unit of a shard as one that has today's columns."""
    return _file_of(with_pictures(ParquetFile(io.BytesIO(rejects)).read(), shard).cast(REJECTS))


def _file_of(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _stored(columns: Sequence[str] | None) -> list[str] | None:
    """The columns of version 1 that hold today's."""
    if columns is None:
        return None
    return [name for column in columns for name in (_CONTEXT if column == "contexts" else (column,))]
