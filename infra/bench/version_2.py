"""Datasets as schema version 2 had them, which commits before schema version 3 read too: for benches beside those."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.parquet import ParquetFile
from manifests.records import METADATA
from manifests.schema import canonical_json
from manifests.versions import REJECTS_2


def make_version_2(dataset: Path) -> None:
    """Write a dataset's tables again as schema version 2 had them, which the commit before K reads as well."""
    (dataset / "dataset.json").unlink(missing_ok=True)
    for path in dataset.rglob("*.parquet"):
        with path.open("rb") as file:
            read = ParquetFile(file)
            groups = [read.read_row_group(number) for number in range(read.num_row_groups)]
            schema = read.schema_arrow
        kept = [name for name in schema.names if path.parent.name != "rejects" or name in REJECTS_2.names]
        values = json.loads((schema.metadata or {})[METADATA]) | {"schema_version": 2}
        table = pa.concat_tables(groups).select(kept) if groups else schema.empty_table().select(kept)
        table = table.replace_schema_metadata({METADATA: canonical_json(values).encode()})
        with pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True) as writer:
            for group in groups:
                writer.write_table(group.select(kept).cast(table.schema))
