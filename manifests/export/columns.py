"""Rows as an Arrow table whose images are copied once: pyarrow's own conversion copies them again as columns grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """What `pa.Table.from_pylist` gives for these rows. A column that a row does not have is null there.

    The images of one column have less than 2 GiB in all, as Arrow's binary columns must.
    """
    columns = [_array(field.type, [row.get(field.name) for row in rows]) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        children = [_array(one.type, [value and value.get(one.name) for value in values]) for one in fields]
        return pa.StructArray.from_arrays(children, fields=fields, mask=pa.array(_nulls(values)))
    if pa.types.is_list(kind):
        nulls = _nulls(values)
        offsets = pa.array(_offsets(values), mask=np.append(nulls, False))
        return pa.ListArray.from_arrays(
            offsets, _array(kind.value_type, [one for value in values for one in value or ()])
        )
    if pa.types.is_binary(kind):
        nulls = _nulls(values)
        valid = pa.array(~nulls).buffers()[1] if nulls.any() else None
        data = pa.py_buffer(b"".join(value for value in values if value is not None))
        return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(_offsets(values)), data])
    return pa.array(values, kind)


def _nulls(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.fromiter((value is None for value in values), bool, len(values))


def _offsets(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Where each value begins among those of all, and where the last one ends."""
    lengths = np.fromiter((0 if value is None else len(value) for value in values), np.int64, len(values))
    ends = np.cumsum(lengths)
    assert not len(ends) or ends[-1] < 2**31, "the images of a row group have 2 GiB"
    return np.concatenate([[0], ends]).astype(np.int32)
