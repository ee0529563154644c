"""Parquet tables of a dataset: whether one has our columns, which anybody may have written."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.schema import DatasetError


def check_columns(there: pa.Schema, ours: pa.Schema) -> None:
    """Raises DatasetError for a table whose columns are of other types than ours, or that lacks one.

    Columns that may be null may be missing, as they are from tables of earlier versions, and there may be further ones.
    """
    for field in ours:
        if not _holds(there, field):
            raise DatasetError(
                f"its columns are not ours, {field.name} among them: it was edited, or written by something else"
            )


def _holds(there: Any, ours: pa.Field) -> bool:
    """Whether a schema or struct type has a field, with no null and no type that readers of ours do not expect."""
    index = there.get_field_index(ours.name)
    if index < 0:
        return bool(ours.nullable)
    field = there.field(index)
    return (ours.nullable or not field.nullable) and _fits(field.type, ours.type)


def _fits(there: pa.DataType, ours: pa.DataType) -> bool:
    if pa.types.is_struct(ours):
        return pa.types.is_struct(there) and all(_holds(there, ours.field(n)) for n in range(ours.num_fields))
    if pa.types.is_list(ours):
        return pa.types.is_list(there) and _fits(there.value_type, ours.value_type)
    return bool(there.equals(ours))


def empty_parquet(schema: pa.Schema) -> bytes:
    """A Parquet file without rows."""
    buffer = io.BytesIO()
    pq.write_table(schema.empty_table(), buffer)
    return buffer.getvalue()
