"""Reads image-text datasets as img2dataset downloads them (LAION-Aesthetics): a tar of images and its Parquet twin."""

from __future__ import annotations

import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.schema import Item, Pair, Reject, pair_key
from manifests.storage import Store
from operators.read.files import IMAGE_ENDINGS, SourceFile, ending, list_files, on_disk
from operators.read.parquet import in_footers, open_parquet, read_row, told_of_columns
from operators.read.photos import upright

_TARS = 2
"""Indexes of tars kept per process: 10,000 images each, by img2dataset's default."""


@dataclass(frozen=True, kw_only=True)
class Img2Dataset:
    """The downloaded images whose aesthetic score is above `min_score`, stored as they are; each a target.

    Layout (img2dataset 1.47, `--output_format webdataset`): 00000.tar with <key>.jpg of what was downloaded, and
    00000.parquet with a row for every URL: key, status, caption, score. Rows are in the tar's order. What failed to
    download, or has a lower score, is not part of the dataset; `left_out` counts it.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = False
    contiguous: ClassVar[bool] = True
    source: str
    licence: str
    root: str = ""
    score_columns: tuple[str, ...] = ("aesthetic", "AESTHETIC_SCORE")
    """Names the score has in the published lists of URLs; the first that a file has is read."""
    min_score: float = 6.0
    """Section C.4 of the paper: aesthetic score > 6."""
    nested: tuple[str, ...] = ("",)

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        for folder in self.nested:
            prefix = f"{folder}/" if folder else ""
            if _shards([replace(f, path=f.path[len(prefix) :]) for f in listing if f.path.startswith(prefix)]):
                return replace(self, root=f"{root.rstrip('/')}/{folder}".rstrip("/"))
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for stem, tar_bytes, rows in self._rows(listing):
            kept = rows.filter(pc.field("kept"))
            for index, key in zip(kept.column("index").to_pylist(), kept.column("key").to_pylist(), strict=True):
                files = (f"{stem}.tar", f"{stem}.parquet")
                yield Item(ref=f"{stem}.tar/{key}", files=files, index=index, bytes=tar_bytes)

    def told(self, listing: Sequence[SourceFile]) -> str:
        file = open_parquet(self.root, f"{min(_shards(listing))}.parquet")
        score = next((name for name in self.score_columns if name in file.schema_arrow.names), "")
        taken = {"key": "name of the image", "caption": "caption", score: "score"}
        return told_of_columns(file, taken, ("status", "url"))

    def left_out(self, listing: Sequence[SourceFile]) -> Mapping[str, int]:
        """How many URLs are not items, by reason; and tars that img2dataset did not finish."""
        counts: Counter[str] = Counter()
        for _, _, rows in self._rows(listing):
            failed = rows.num_rows - rows.filter(pc.field("success")).num_rows
            counts["not downloaded"] += failed
            counts[f"score not above {self.min_score:g}"] += (
                rows.num_rows - failed - rows.filter(pc.field("kept")).num_rows
            )
        tars = {file.path.removesuffix(".tar") for file in listing if file.path.endswith(".tar")}
        counts["unfinished tars"] = len(tars - _shards(listing).keys())
        return +counts

    def _rows(self, listing: Sequence[SourceFile]) -> Iterator[tuple[str, int, pa.Table]]:
        """Stem and tar size of each shard, and its rows: index, key, success, kept. Raises ValueError as `_table`."""
        shards = _shards(listing)
        tables = in_footers(partial(_table, reader=self), self.root, [f"{stem}.parquet" for stem in shards])
        for (stem, tar_bytes), rows in zip(shards.items(), tables, strict=True):
            yield stem, tar_bytes, rows

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"target": "jpg"}  # img2dataset's default; a look into the tars would cost more than the name is worth

    def read(self, item: Item, task: str) -> Pair:
        tar, parquet = item.files
        key = posixpath.basename(item.ref)
        columns = ("key", "caption", "url", *self.score_columns)
        row = _row(self.root, parquet, item.index, columns)
        if row.get("key") != key:
            raise Reject("damaged", f"{parquet}: row {item.index} is not {key} any more")
        data = _member(self.root, tar, key)
        image, steps = upright("target", data)
        texts = {name: value for name in ("caption", "url") if isinstance(value := row.get(name), str) and value}
        score = next(value for name in self.score_columns if isinstance(value := row.get(name), float))
        return Pair(
            key=pair_key(task, item.ref, data),
            source=self.source,
            source_ref=item.ref,
            licence=self.licence,
            images=(image,),
            group=item.ref,
            texts=texts,
            scores={"aesthetic": round(score, 6)},
            steps=steps,
        )


def _shards(listing: Sequence[SourceFile]) -> dict[str, int]:
    """Stem -> bytes of the tar, 0 if it is gone, of each finished shard: its Parquet file is written at the end."""
    tars = {file.path.removesuffix(".tar"): file.bytes for file in listing if file.path.endswith(".tar")}
    stems = [file.path.removesuffix(".parquet") for file in listing if file.path.endswith(".parquet")]
    # Without a tar of the same name a Parquet file may be anything; beside tars it is a shard whose tar is gone.
    beside = {posixpath.dirname(stem) for stem in tars}
    return {
        stem: tars.get(stem, 0)
        for stem in stems
        if stem in tars or (posixpath.dirname(stem) in beside and posixpath.basename(stem).isdigit())
    }


def _table(file: pq.ParquetFile, reader: Img2Dataset) -> pa.Table:
    """index, key, success and kept of each row. Raises ValueError if there is no score to choose by."""
    names = file.schema_arrow.names
    score = next((name for name in reader.score_columns if name in names), None)
    if score is None or not {"key", "status"} <= set(names):
        raise ValueError(
            f"DATA: {reader.source} needs the columns key, status and {' or '.join(reader.score_columns)}; there are "
            f"{', '.join(names)}. Run img2dataset with --save_additional_columns '[\"{reader.score_columns[0]}\"]'"
        )
    table = file.read(columns=["key", "status", score])
    success = pc.fill_null(pc.equal(table.column("status"), "success"), False)
    above = pc.fill_null(pc.greater(table.column(score), reader.min_score), False)
    columns = [pa.array(range(table.num_rows), pa.int64()), table.column("key"), success, pc.and_(success, above)]
    return pa.table(columns, names=["index", "key", "success", "kept"])


def _row(root: str, path: str, index: int, columns: tuple[str, ...]) -> dict[str, object]:
    table, place = read_row(root, path, index, columns)
    return {name: table.column(name)[place].as_py() for name in table.column_names}


def _member(root: str, tar: str, key: str) -> bytes:
    """An image's bytes, read in place. Raises Reject: missing, missing_member, damaged."""
    members, size = _index(root, tar)
    if key not in members:
        raise Reject("missing_member", f"{tar} has no image {key}, though its Parquet file says so")
    offset, length = members[key]
    if offset + length > size:
        raise Reject("damaged", f"{tar} is cut off inside {key}")
    store = Store(root)
    return store.read(on_disk(store, tar), offset, length)


@lru_cache(maxsize=_TARS)
def _index(root: str, tar: str) -> tuple[Mapping[str, tuple[int, int]], int]:
    """Key -> offset and length of each image in a tar, and the tar's size; built by walking the headers.

    A tar that is cut off or damaged is indexed up to there.
    """
    store = Store(root)
    members: dict[str, tuple[int, int]] = {}
    try:
        name = on_disk(store, tar)
        size = store.fs.size(store.path(name))
        with store.open(name) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.isreg() and ending(member.name) in IMAGE_ENDINGS:
                    key = posixpath.splitext(posixpath.basename(member.name))[0]
                    members.setdefault(key, (member.offset_data, member.size))
    except FileNotFoundError as error:
        raise Reject("missing", f"{tar}: gone since it was listed, or never there") from error
    except (tarfile.TarError, EOFError):
        pass
    return members, size
