"""Reads image-text datasets as img2dataset downloads them (LAION-Aesthetics): images, and a Parquet list of them."""

from __future__ import annotations

import posixpath
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import ClassVar, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from manifests.images.pixels import MAX_BYTES
from manifests.parquet import ParquetFile
from manifests.schema import Item, Pair, Reject, pair_key
from manifests.storage import Store
from operators.read.files import (
    IMAGE_ENDINGS,
    SourceFile,
    ending,
    list_files,
    on_disk,
    open_file,
    read_file,
    too_large,
)
from operators.read.parquet import as_name, as_number, as_text, in_footers, open_parquet, read_row, told_of_columns
from operators.read.photos import alone
from operators.read.tables.tars import NOT_A_HEADER

_T = TypeVar("_T")

_TARS = 2
"""Indexes of tars kept per process: 10,000 images each, by img2dataset's default."""

_MAX_CAPTION_BYTES = 2**16
"""Most that is read of a caption beside its image: some 10,000 words."""

_AT_ONCE = 10_000
"""Rows of the list that are read together: a shard's, by img2dataset's default, a few MB of texts."""


@dataclass(frozen=True, kw_only=True)
class Img2Dataset:
    """The downloaded images whose aesthetic score is above `min_score`, stored as they are; each a target.

    Layout (img2dataset 1.47, `--output_format webdataset`): 00000.tar with <key>.jpg of what was downloaded, and
    00000.parquet with a row for every URL: key, status, caption, score. Rows are in the tar's order. What failed to
    download, or has a lower score, is not part of the dataset; `left_out` counts it. `--output_format files` has the
    same files in a folder 00000/ instead of a tar.

    Columns are read by what they say, whatever the type: other programs write keys and scores as numbers or as text.
    A key that lost its leading zeros so is found by its number. Where the list has no captions, <key>.txt has them.
    """

    version: ClassVar[int] = 2
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
            inside = [replace(f, path=f.path[len(prefix) :]) for f in listing if f.path.startswith(prefix)]
            if finished_shards(inside):
                return replace(self, root=f"{root.rstrip('/')}/{folder}".rstrip("/"))
        tars = [file.path for file in listing if file.path.endswith(".tar") and _stem(file.path).isdigit()]
        if tars and not any(ending(file.path) in IMAGE_ENDINGS or file.path.endswith(".parquet") for file in listing):
            raise ValueError(
                f"DATA: {root} has {tars[0]} but not {tars[0].removesuffix('.tar')}.parquet, which img2dataset writes "
                "when a shard is finished, and without which there are no scores: run it again to the end"
            )
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for stem, shard, rows in self._rows(listing):
            kept = rows.filter(pc.field("kept"))
            for index, key in zip(kept.column("index").to_pylist(), kept.column("key").to_pylist(), strict=True):
                if shard.tar:
                    ref, image, size = f"{stem}.tar/{key}", f"{stem}.tar", shard.bytes
                else:
                    file = _found(shard.images, key)
                    ref, image, size = f"{stem}/{key}", file.path if file else "", file.bytes if file else 0
                yield Item(ref=ref, files=(image, f"{stem}.parquet"), index=index, bytes=size)

    def told(self, listing: Sequence[SourceFile]) -> str:
        file = open_parquet(self.root, f"{min(finished_shards(listing))}.parquet")
        score = next((name for name in self.score_columns if name in file.schema_arrow.names), "")
        taken = {"key": "name of the image", "caption": "caption", score: "score"}
        return told_of_columns(file, taken, ("status", "url"))

    def left_out(self, listing: Sequence[SourceFile]) -> Mapping[str, int]:
        """How many URLs are not items, by reason; and tars that img2dataset did not finish."""
        counts: Counter[str] = Counter()
        for _, _, rows in self._rows(listing):
            failed = rows.num_rows - rows.filter(pc.field("success")).num_rows
            scoreless = rows.filter(pc.field("success") & ~pc.field("scored")).num_rows
            counts["not downloaded"] += failed
            counts["without a score or a key"] += scoreless
            again = rows.filter(pc.field("again")).num_rows
            counts["listed again"] += again
            counts[f"score not above {self.min_score:g}"] += (
                rows.num_rows - failed - scoreless - again - rows.filter(pc.field("kept")).num_rows
            )
        tars = {file.path.removesuffix(".tar") for file in listing if file.path.endswith(".tar")}
        counts["unfinished tars"] = len(tars - finished_shards(listing).keys())
        return +counts

    def _rows(self, listing: Sequence[SourceFile]) -> Iterator[tuple[str, Shard, pa.Table]]:
        """Stem and shard, and its rows: index, key, success, scored, again, kept. Raises ValueError as `_table`."""
        shards = finished_shards(listing)
        tables = in_footers(partial(_table, reader=self), self.root, [f"{stem}.parquet" for stem in shards])
        for (stem, shard), rows in zip(shards.items(), tables, strict=True):
            yield stem, shard, rows

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"target": "jpg"}  # img2dataset's default; a look into the tars would cost more than the name is worth

    def read(self, item: Item, task: str) -> Pair:
        path, parquet = item.files
        key = posixpath.basename(item.ref)
        row = read_row(self.root, parquet, item.index, ("key", "caption", "url", *self.score_columns), _AT_ONCE)
        score = next((as_number(row[name]) for name in self.score_columns if name in row), None)
        if as_name(row.get("key")) != key or score is None:
            raise Reject("damaged", f"{parquet}: row {item.index} is not {key} any more, or has no score")
        if not path:
            raise Reject(
                "missing_member", f"{posixpath.dirname(item.ref)}/ has no image {key}, though {parquet} says so"
            )
        in_tar = path.endswith(".tar")
        data = image_in_tar(self.root, path, key) if in_tar else read_file(self.root, path)
        image, steps = alone("target", data)
        if "caption" not in row:
            row["caption"] = _caption(self.root, path, key) if in_tar else _caption_file(self.root, path)
        texts = {name: text for name in ("caption", "url") if (text := as_text(row.get(name)))}
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


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Where a finished shard has its images."""

    tar: bool
    """Whether in a tar; else in a folder."""
    bytes: int = 0
    """Size of the tar, 0 if it is gone."""
    images: Mapping[str, SourceFile]
    """Key -> file in the folder."""


def finished_shards(listing: Sequence[SourceFile]) -> dict[str, Shard]:
    """Stem -> each finished shard of a listing: its Parquet file is written at the end."""
    tars = {file.path.removesuffix(".tar"): file.bytes for file in listing if file.path.endswith(".tar")}
    stems = [file.path.removesuffix(".parquet") for file in listing if file.path.endswith(".parquet")]
    folders: dict[str, dict[str, SourceFile]] = {stem: {} for stem in stems if stem not in tars}
    for file in listing:
        if ending(file.path) in IMAGE_ENDINGS and (images := folders.get(posixpath.dirname(file.path))) is not None:
            images.setdefault(_stem(file.path), file)
    beside = {posixpath.dirname(stem) for stem in tars}
    shards = {}
    for stem in stems:
        numbered = posixpath.basename(stem).isdigit()
        if stem in tars or (posixpath.dirname(stem) in beside and numbered and not folders[stem]):
            shards[stem] = Shard(tar=True, bytes=tars.get(stem, 0), images={})
        elif numbered and folders[stem]:
            shards[stem] = Shard(tar=False, images=_with_numbers(folders[stem]))
    return shards


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]


def _table(file: ParquetFile, reader: Img2Dataset) -> pa.Table:
    """index, key, success, scored, again and kept of each row, of which "again" is one that would be kept if an earlier
    one did not name the same image. Raises ValueError if there is no score to choose by.
    """
    names = file.schema_arrow.names
    score = next((name for name in reader.score_columns if name in names), None)
    if score is None or not {"key", "status"} <= set(names):
        raise ValueError(
            f"{reader.source} needs the columns key, status and {' or '.join(reader.score_columns)}; there are "
            f"{', '.join(names)}. Run img2dataset with --save_additional_columns '[\"{reader.score_columns[0]}\"]'"
        )
    table = file.read(columns=["key", "status", score])
    values = table.column(score).to_pylist()
    scores = [as_number(value) for value in values]
    if any(value is not None for value in values) and all(number is None for number in scores):
        raise ValueError(f"{score}, of type {file.schema_arrow.field(score).type}, has no number by which to choose")
    success = [as_name(status) == "success" for status in table.column("status").to_pylist()]
    keys = [as_name(key) for key in table.column("key").to_pylist()]
    scored = [number is not None and key != "" for number, key in zip(scores, keys, strict=True)]
    wanted = [
        done and has and (number or 0.0) > reader.min_score
        for done, has, number in zip(success, scored, scores, strict=True)
    ]
    first = {key: row for row, (key, one) in reversed([*enumerate(zip(keys, wanted, strict=True))]) if one}
    kept = [one and first[key] == row for row, (key, one) in enumerate(zip(keys, wanted, strict=True))]
    again = [one and not it for one, it in zip(wanted, kept, strict=True)]
    flags = [pa.array(flag, pa.bool_()) for flag in (success, scored, again, kept)]  # typed without rows too
    arrays = [pa.array(range(table.num_rows), pa.int64()), pa.array(keys, pa.string()), *flags]
    return pa.table(arrays, names=["index", "key", "success", "scored", "again", "kept"])


def image_in_tar(root: str, tar: str, key: str) -> bytes:
    """An image's bytes, read in place. Raises Reject: missing, missing_member, damaged, too_large."""
    index = _index(root, tar)
    found = _found(index.images, key)
    if found is None:
        lost = "" if index.whole else "; it is cut off or damaged, and what lies behind that is lost"
        raise Reject("missing_member", f"{tar} has no image {key}, though its Parquet file says so{lost}")
    offset, length = found
    if offset + length > index.bytes:
        raise Reject("damaged", f"{tar} is cut off inside {key}")
    if length > MAX_BYTES:
        raise too_large(f"{tar}/{key}", length)
    return _read_part(root, tar, offset, length)


def _read_part(root: str, tar: str, offset: int, length: int) -> bytes:
    store = Store(root)
    return store.read(on_disk(store, tar), offset, length)


def _caption(root: str, tar: str, key: str) -> bytes:
    """The caption that lies beside an image in its tar, b"" if none does."""
    offset, length = _found(_index(root, tar).captions, key) or (0, 0)
    return _read_part(root, tar, offset, min(length, _MAX_CAPTION_BYTES)) if length else b""


def _caption_file(root: str, image: str) -> bytes:
    """The caption that lies beside an image in its folder, b"" if none does."""
    try:
        return read_file(root, f"{posixpath.splitext(image)[0]}.txt")[:_MAX_CAPTION_BYTES]
    except Reject:
        return b""


@dataclass(frozen=True, kw_only=True)
class _Index:
    """What lies in a tar: offset and length of each image and caption, by key."""

    images: Mapping[str, tuple[int, int]]
    captions: Mapping[str, tuple[int, int]]
    bytes: int
    """Size of the tar."""
    whole: bool
    """Whether it has its end."""


@lru_cache(maxsize=_TARS)
def _index(root: str, tar: str) -> _Index:
    """The index of a tar, by a walk along its headers. One that is cut off or damaged is indexed up to there."""
    store = Store(root)
    images: dict[str, tuple[int, int]] = {}
    captions: dict[str, tuple[int, int]] = {}
    end, after = 0, b""
    try:
        size = store.fs.size(store.path(on_disk(store, tar)))
        with open_file(root, tar) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.size < 0:  # of which tarfile would go back, and round and round
                    break
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                kind = ending(member.name) if member.isreg() else ""
                if kind in IMAGE_ENDINGS or kind == "txt":
                    found = captions if kind == "txt" else images
                    found.setdefault(_stem(member.name), (member.offset_data, member.size))
            file.seek(end)
            after = file.read(tarfile.BLOCKSIZE)
    except FileNotFoundError as error:
        raise Reject("missing", f"{tar}: gone since it was listed, or never there") from error
    except NOT_A_HEADER:
        pass
    # A block of zeros follows the last member. What tarfile does not take for a header behind the first, it takes for
    # the end without a word.
    whole = after == bytes(tarfile.BLOCKSIZE)
    return _Index(images=_with_numbers(images), captions=_with_numbers(captions), bytes=size, whole=whole)


def _with_numbers(by_key: Mapping[str, _T]) -> Mapping[str, _T]:
    """The same, also by the numbers that keys are, as "7" for "000000007", where that is no key and says one alone."""
    numbers: dict[str, list[_T]] = {}
    for key, found in by_key.items():
        if key.isascii() and key.isdigit():
            numbers.setdefault(_plain(key), []).append(found)
    return {**{number: found[0] for number, found in numbers.items() if len(found) == 1}, **by_key}


def _found(by_key: Mapping[str, _T], key: str) -> _T | None:
    """What a key names: by its own spelling, else as a number."""
    return by_key.get(key, by_key.get(_plain(key)))


def _plain(key: str) -> str:
    """A key of digits without leading zeros; another as it is."""
    return (key.lstrip("0") or "0") if key.isascii() and key.isdigit() else key
