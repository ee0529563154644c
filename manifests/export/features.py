"""Columns of a Parquet table with what Hugging Face datasets calls features, so that images open as images."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from manifests.export.sample import File, Picture

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""How datasets stores an image: its file's bytes, and a name by which its format is told."""


def image(picture: Picture | None, stem: str) -> dict[str, Any] | None:
    """The value of an image's column; None for none."""
    if picture is None:
        return None
    file: File = picture.file()
    return {"bytes": file.data, "path": f"{stem}.{file.ending}"}


def with_features(fields: list[pa.Field]) -> pa.Schema:
    """A schema of these columns, whose metadata says of them what datasets expects under "huggingface"."""
    features = {field.name: _feature(field.type) for field in fields}
    text = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return pa.schema(fields, metadata={"huggingface": text})


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {kind.field(number).name: _feature(kind.field(number).type) for number in range(kind.num_fields)}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}
