"""Tables of rows, beside pyarrow's own conversion."""

from __future__ import annotations

import pyarrow as pa
import pytest

from manifests.export.columns import table_of

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("output", _IMAGE),
        pa.field("inputs", pa.list_(_IMAGE)),
        pa.field("data", pa.binary()),
        pa.field(
            "contexts", pa.list_(pa.struct([pa.field("inputs", pa.list_(_IMAGE)), pa.field("score", pa.float64())]))
        ),
    ],
    metadata={"huggingface": "{}"},
)
_A, _B = {"bytes": b"\x00a", "path": "a.png"}, {"bytes": b"", "path": None}

_ROWS = [
    {"name": "é", "output": _A, "inputs": [_A, None, _B], "data": b"x", "contexts": [{"inputs": [_B], "score": 0.5}]},
    {"name": None, "output": None, "inputs": None, "data": None, "contexts": None},
    {"name": "", "output": {"bytes": None}, "inputs": [], "data": b"", "contexts": [None, {"inputs": None}]},
    {},
]


@pytest.mark.parametrize("rows", [_ROWS, _ROWS[:1], _ROWS[1:2], []], ids=["all", "full", "nulls", "none"])
def test_the_table_is_as_pyarrow_makes_it(rows: list[dict[str, object]]) -> None:
    made, wanted = table_of(rows, _SCHEMA), pa.Table.from_pylist(rows, _SCHEMA)
    made.validate(full=True)
    assert made.schema.equals(wanted.schema, check_metadata=True)
    assert made.to_pylist() == wanted.to_pylist()
    assert all(made[name].null_count == wanted[name].null_count for name in _SCHEMA.names)
