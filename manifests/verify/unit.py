"""Checks one committed unit: its manifest against its shard, its rejects and its slice of the plan.

What a manifest's rows say of keys, instructions, texts, roles, sources, licences and image bytes must agree with the
shard. What is in the manifest alone (scores, groups, steps, sizes in px, formats, which in-context example) is
vouched for by dataset.json.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from manifests.dataset import Commit, Dataset, DatasetError, Plan
from manifests.parquet import ParquetFile, refuse_large_pages
from manifests.schema import MANIFEST, MASK, MASKED, REJECTS
from manifests.versions import rejects_schema_of, schema_of, with_contexts, with_pictures
from manifests.write.tar import Damaged, Walk
from manifests.write.writer import sample_json

Problem = tuple[str, str]
"""A file of the dataset and what is wrong with it."""

Row = dict[str, Any]

ExamplesOf = Callable[[str | None], Mapping[str, int] | None]
"""Place of a dataset (manifests/read/places.py), None for this one -> by pair of that dataset, the bits in EXAMPLES of
those it has; None if the dataset cannot be looked into."""

EXAMPLES = {
    ("forward", "generate"): 1,
    ("forward", "describe"): 2,
    ("reverse", "generate"): 4,
    ("reverse", "describe"): 8,
}
"""A bit for each example that a pair can have."""

MAX_TABLE_BYTES = 2**31
"""The largest Parquet file that is looked into; a plan of ten million items has some 100 MB."""

_BATCH_ROWS, _BATCH_BYTES = 1_024, 2**28
_HELD_BYTES = 2**28  # of a table whose rows are held together, in Arrow; one of 5,000 pairs has some 30 MB
_MOST_ENTRIES = (
    1_024  # of the lists of a row, on average: images, files, steps; thousands of equal ones are a few bytes
)
_FEW_PAIRS = 1_024  # have no need of a shard to be believed: it may be gone or cut off

_OF_THE_PAIR = ("images", "source", "source_ref", "licence")
_COLUMNS = [
    *("pair", "task", "direction", "kind", "instruction", "inputs", "output", "text", "shard"),
    *("contexts", "context_method"),
    *_OF_THE_PAIR,
]


@dataclass(frozen=True, kw_only=True)
class _Expected:
    """What a member of the shard must be, after the manifest. No row says where a pair's JSON lies."""

    bytes: int
    sha256: str
    offset: int | None = None


def check_unit(
    dataset: Dataset, plan: Plan, unit: int, refs: Sequence[str], examples_of: ExamplesOf
) -> Iterator[Problem]:
    """Check a committed unit. `refs` are its planned items; `examples_of` tells of what in-context examples name."""
    name = plan.name(unit)
    # A unit without its manifest is not committed, so the next run writes all its files anew.
    way_out = f"remove manifest/{name}.parquet and run the same command again to write the unit anew"
    try:
        commit = dataset.commit(name)
    except FileNotFoundError:  # though it is listed
        yield f"manifest/{name}.parquet", "is a link to nothing; remove it and run the same command again"
        return
    except ValueError as error:
        yield f"manifest/{name}.parquet", str(error)
        return
    for file, message in _problems(dataset, plan, unit, commit, refs, examples_of):
        yield file, f"{message}; {way_out}"


def read_file(dataset: Dataset, file: str, most_bytes: int = MAX_TABLE_BYTES) -> bytes:
    """A file's bytes. Raises DatasetError if it cannot be read or is larger, FileNotFoundError if it is gone."""
    try:
        if (size := dataset.store.size(file)) > most_bytes:
            raise DatasetError(f"it has {size:,} bytes, more than {most_bytes:,}")
        return dataset.store.read(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DatasetError(f"it cannot be read: {error}") from error


def open_file(dataset: Dataset, file: str) -> BinaryIO:
    """An open file. Raises DatasetError if it cannot be read, FileNotFoundError if it is gone."""
    try:
        return dataset.store.open(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DatasetError(f"it cannot be read: {error}") from error


def most_rows(dataset: Dataset, name: str, items: int) -> int:
    """The most rows that a unit's manifest can have: four for each pair.

    There are no more pairs than items, nor than have room in the shard, where each has a header and a JSON.
    """
    try:
        room = dataset.store.size(f"shards/{name}.tar") // (2 * tarfile.BLOCKSIZE)
    except OSError:
        room = 0
    return len(EXAMPLES) * min(items, max(room, _FEW_PAIRS))


def row_batches(data: bytes, schema: pa.Schema, columns: list[str], most: int) -> Iterator[pa.Table]:
    """Columns of a Parquet file, some rows at a time: so few that values as large as its footer allows have room.

    Raises DatasetError if it is damaged, of another schema, or has more rows than `most` or lists too long.
    """
    try:
        file = ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        there = file.schema_arrow
        there = schema_of(there) if schema is MANIFEST else rejects_schema_of(there) if schema is REJECTS else schema
        if not file.schema_arrow.equals(there):
            raise DatasetError("its columns are not ours: it was edited, or written by something else")
        if file.metadata.num_rows > most:
            raise DatasetError(f"it has {file.metadata.num_rows:,} rows, and can have {most:,} at most: it was edited")
        refuse_large_pages(data, file.metadata)
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            entries = max(group.column(column).num_values for column in range(group.num_columns))
            if entries > _MOST_ENTRIES * group.num_rows:
                raise DatasetError(f"it has {entries:,} entries in lists of {group.num_rows:,} rows: it was edited")
            widest = max(group.column(column).total_uncompressed_size for column in range(group.num_columns))
            rows = min(max(_BATCH_BYTES // max(widest, 1), 1), _BATCH_ROWS)
            for batch in file.iter_batches(rows, [number]):  # all columns: each page has a checksum
                if batch.nbytes > _BATCH_BYTES:
                    raise DatasetError(f"{batch.num_rows:,} rows of it have {batch.nbytes:,} bytes: it was edited")
                batch.validate(full=True)
                table = with_contexts(pa.Table.from_batches([batch]))
                yield (with_pictures(table, "") if schema is REJECTS else table).select(columns)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise DatasetError(f"it is damaged: {error}") from error


def _problems(
    dataset: Dataset, plan: Plan, unit: int, commit: Commit, refs: Sequence[str], examples_of: ExamplesOf
) -> Iterator[Problem]:
    """All that is wrong with a unit whose commit can be read: its manifest, then its shard, rejects and items."""
    name = plan.name(unit)
    manifest, rejects = f"manifest/{name}.parquet", f"rejects/{name}.parquet"
    try:
        rows = _rows(read_file(dataset, manifest), MANIFEST, _COLUMNS, most_rows(dataset, name, len(refs)))
    except ValueError as error:
        yield manifest, str(error)
        return
    if commit.unit != unit:
        yield manifest, f"is the manifest of unit {commit.unit} under another name"
        return
    pairs: dict[str, list[Row]] = {}
    for row in rows:
        pairs.setdefault(row["pair"], []).append(row)
    for message in itertools.chain(
        _commit_problems(commit, plan, rows, pairs), _example_problems(rows, pairs, plan, name, examples_of)
    ):
        yield manifest, message
    yield from _shard_problems(dataset, name, commit, pairs)
    try:
        data = read_file(dataset, rejects)
        if hashlib.sha256(data).hexdigest() != commit.rejects_sha256:
            yield rejects, "its sha256 is not what the manifest records: it was edited or damaged"
        rejected = _rows(data, REJECTS, ["source_ref", "reason"], len(refs))
    except FileNotFoundError:
        yield rejects, "is missing"
        return
    except ValueError as error:
        yield rejects, str(error)
        return
    for message in itertools.chain(
        _reject_problems(commit, rejected, rejects), _item_problems(refs, pairs, rejected, rejects)
    ):
        yield manifest, message


def _commit_problems(commit: Commit, plan: Plan, rows: Sequence[Row], pairs: Mapping[str, list[Row]]) -> Iterator[str]:
    """The fingerprint and counts that the manifest records, against the plan and the manifest's own rows."""
    if commit.fingerprint != plan.fingerprint:
        yield f"is of another plan: fingerprint {commit.fingerprint}, plan.parquet has {plan.fingerprint}"
    kinds = dict(Counter(f"{row['direction']} {row['kind']}" for row in rows))
    if (commit.pairs, commit.examples) != (len(pairs), kinds):
        yield f"records {commit.pairs} pairs, {commit.examples}; its rows have {len(pairs)}, {kinds}"
    without = sum(
        not row["contexts"] and plan.needs_context(row["direction"], row["kind"], row["inputs"]) for row in rows
    )
    if commit.without_context != without:
        yield f"records {commit.without_context} examples without an in-context one; its rows have {without}"


def _example_problems(
    rows: Sequence[Row], pairs: Mapping[str, list[Row]], plan: Plan, name: str, examples_of: ExamplesOf
) -> Iterator[str]:
    """Each row of the manifest, which is an example, by itself and with its in-context example."""
    for row in rows:
        by_itself = _row_problems(row, pairs[row["pair"]][0], plan, name)
        for message in itertools.chain(by_itself, _context_problems(row, examples_of)):
            yield f"pair {row['pair']}, {row['direction']} {row['kind']}: {message}"


def _reject_problems(commit: Commit, rejected: Sequence[Row], rejects: str) -> Iterator[str]:
    """The counts of rejects by reason that the manifest records, against the rows of the file `rejects`."""
    reasons = dict(Counter(row["reason"] for row in rejected))
    if commit.rejects != reasons:
        yield f"records the rejects {commit.rejects}, {rejects} has {reasons}"


def _item_problems(
    refs: Sequence[str], pairs: Mapping[str, list[Row]], rejected: Sequence[Row], rejects: str
) -> Iterator[str]:
    """The planned items, each of which must have become exactly one pair or one reject."""
    found = Counter(row["source_ref"] for row in (*(rows[0] for rows in pairs.values()), *rejected))
    planned = Counter(refs)
    for ref in planned - found:
        yield f"item {ref!r} of the plan is lost: it is neither among its pairs nor in {rejects}"
    for ref in found - planned:
        yield f"item {ref!r} is in its pairs and {rejects} {found[ref]} times, {planned[ref]} times in the plan"


def _rows(data: bytes, schema: pa.Schema, columns: list[str], most: int) -> list[Row]:
    """A Parquet file's rows, all together. Raises DatasetError as `row_batches` does, or if they are too large."""
    rows: list[Row] = []
    held = 0
    for batch in row_batches(data, schema, columns, most):
        held += batch.nbytes
        if held > _HELD_BYTES:
            raise DatasetError(f"its rows have more than {_HELD_BYTES:,} bytes: it was edited")
        rows += batch.to_pylist()
    return rows


def _row_problems(row: Row, first: Row, plan: Plan, name: str) -> Iterator[str]:
    """A row by itself. `first` is the first row of its pair."""
    if (row["task"], row["shard"]) != (plan.task, f"{name}.tar"):
        yield f"is of task {row['task']!r} and shard {row['shard']!r}"
    if (row["direction"], row["kind"]) not in EXAMPLES:
        yield "there is no such direction and kind"
    if any(row[column] != first[column] for column in _OF_THE_PAIR):
        yield f"{', '.join(_OF_THE_PAIR)} are not those of the pair's first row"
    roles = {image["role"] for image in row["images"]}
    if None in row["inputs"]:
        yield "an input has no name"
    if missing := {*row["inputs"], row["output"]} - roles - {None}:
        yield f"the pair has no image {', '.join(sorted(missing))}"
    yield from _mask_problems({image["role"]: image for image in row["images"]})
    for image in row["images"]:
        parts = image["member"].split(".")
        if parts[:-1] != [row["pair"], image["role"]] or "/" in image["member"]:
            yield f"member {image['member']!r} is not named <pair>.<role>.<ending>"


def _mask_problems(images: Mapping[str, Row]) -> Iterator[str]:
    """Whether a pair's mask has the size of what it is drawn on. `images` are a row's, by role."""
    drawn, on = images.get(MASK), next((images[role] for role in MASKED if role in images), None)
    if drawn and on and (size := (drawn["width_px"], drawn["height_px"])) != (on["width_px"], on["height_px"]):
        yield f"its mask has {size[0]} x {size[1]} px, its {on['role']} {on['width_px']} x {on['height_px']} px"


def _context_problems(row: Row, examples_of: ExamplesOf) -> Iterator[str]:
    """What a row says of its in-context examples."""
    contexts = [(one["pair"], one["dataset"]) for one in row["contexts"]]
    if not contexts and row["context_method"] is not None:
        yield "it has no in-context example, but a method by which one was chosen"
    if contexts and row["context_method"] is None:
        yield "it does not say how its in-context examples were chosen"
    if len(set(contexts)) < len(contexts):
        yield "it has an in-context example twice"
    for context, database in contexts:
        try:
            examples = examples_of(database)
        except DatasetError as error:
            yield str(error)
            continue
        yield from _context_example_problems(row, context, database, examples)


def _context_example_problems(
    row: Row, context: str, database: str | None, examples: Mapping[str, int] | None
) -> Iterator[str]:
    """One in-context example of a row. `examples` has the dataset's pairs; None if it cannot be looked into."""
    if context == row["pair"]:
        yield "the pair is its own in-context example"
    elif examples is None:  # of a dataset that is not here
        return
    elif context not in examples:
        yield f"its in-context example, pair {context}, is not in the dataset{f' {database}' if database else ''}"
    elif not examples[context] & EXAMPLES.get((row["direction"], row["kind"]), 0):
        yield f"its in-context example, pair {context}, has no {row['direction']} {row['kind']} example"


def _shard_problems(dataset: Dataset, name: str, commit: Commit, pairs: Mapping[str, list[Row]]) -> Iterator[Problem]:
    """The shard's members against the manifest's rows. If the shard is as it was committed, the rows are to blame."""
    shard = f"shards/{name}.tar"
    expected = _expected_members(pairs)
    problems: list[str] = []
    seen: dict[str, None] = {}
    try:
        file = open_file(dataset, shard)
    except FileNotFoundError:
        yield shard, "is missing"
        return
    except DatasetError as error:
        yield shard, str(error)
        return
    with file:
        walk = Walk(file)
        try:
            for member in walk.members():
                wanted = expected.get(member.name)
                if member.name in seen:
                    problems.append(f"member {member.name} is there twice")
                elif wanted is None:
                    problems.append(f"member {member.name} is named by no row of the manifest")
                elif (member.bytes, member.sha256) != (wanted.bytes, wanted.sha256):
                    problems.append(
                        f"member {member.name} is not what the manifest's rows say: one of them was changed"
                    )
                elif wanted.offset not in (None, member.offset):
                    problems.append(f"member {member.name} is at byte {member.offset}, its row says {wanted.offset}")
                seen[member.name] = None
                if walk.bytes > commit.shard_bytes:  # of what its headers say it may have, there is no end
                    raise Damaged(
                        "its size, sha256 or number of members is not what the manifest records: it goes on", walk.bytes
                    )
            problems += [f"member {gone} is missing" for gone in expected if gone not in seen]
        except Damaged as damage:
            at_header = damage.offset + tarfile.BLOCKSIZE
            owner = next((member for member, wanted in expected.items() if wanted.offset == at_header), None)
            last = next(reversed(seen), None)
            where = (
                f"before the data of member {owner}" if owner else f"after member {last}" if last else "at its start"
            )
            problems.append(f"{damage}, at byte {damage.offset:,} of {commit.shard_bytes:,}, {where}")
    intact = (walk.bytes, walk.sha256, len(seen)) == (commit.shard_bytes, commit.shard_sha256, commit.members)
    if not intact and not problems:
        problems.append("its size, sha256 or number of members is not what the manifest records")
    for problem in problems:
        yield f"manifest/{name}.parquet" if intact else shard, problem


def _expected_members(pairs: Mapping[str, list[Row]]) -> dict[str, _Expected]:
    expected = {}
    for pair, rows in pairs.items():
        first = rows[0]
        for image in first["images"]:
            expected[image["member"]] = _Expected(bytes=image["bytes"], sha256=image["sha256"], offset=image["offset"])
        sample = sample_json(first["task"], first["source"], first["source_ref"], first["licence"], rows)
        expected[f"{pair}.json"] = _Expected(bytes=len(sample), sha256=hashlib.sha256(sample).hexdigest())
    return expected
