"""What the tests of `verify` share: a sound dataset, ways to damage it, and what is found then."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.records import METADATA
from manifests.schema import canonical_json
from manifests.verify.dataset import verify

UNIT = "derain-000001"
SHARD, MANIFEST, REJECTS = f"shards/{UNIT}.tar", f"manifest/{UNIT}.parquet", f"rejects/{UNIT}.parquet"
ANEW = f"remove {MANIFEST} and run the same command again to write the unit anew"

NOT_FINISHED = "is missing, and all units are there"

Rows = list[dict[str, Any]]


def findings(root: Path) -> list[tuple[str, str]]:
    """File, relative to the dataset, and message; less that dataset.json is not there, which `unfinished` removed."""
    found = [(finding.file.removeprefix(f"{root}/"), finding.message) for finding in verify(str(root))]
    return [(file, message) for file, message in found if not message.startswith(NOT_FINISHED)]


def found_in(root: Path, file: str, *parts: str) -> None:
    """Assert that there is exactly one finding, in this file, and that its message has these parts."""
    [(where, message)] = findings(root)
    assert where == file
    for part in parts:
        assert part in message
    assert "\n" not in message


def members(root: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(root / SHARD) as tar:
        return tar.getmembers()


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def edit(path: Path, change: Callable[[Rows], object], **metadata: object) -> None:
    """Change the rows of a Parquet file with pyarrow; our metadata is kept but for the given entries."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    values = json.loads(table.schema.metadata[METADATA]) | metadata
    schema = table.schema.with_metadata({METADATA: canonical_json(values).encode()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def edit_with_pandas(path: Path, **columns: str) -> None:
    frame = pd.read_parquet(path)
    frame["scores"] = frame["scores"].map(dict)  # pandas cannot write a map column as it reads it
    frame.assign(**columns).to_parquet(path)


def nothing(rows: Rows) -> None:
    pass
