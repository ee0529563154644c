"""Checks the token shards of a dataset directory: each against its commit, and the commits against the dataset."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.schema import MANIFEST, TEXT_REJECTS
from manifests.tokens import (
    TOKENS,
    TokenCommit,
    TokenizerRecord,
    committed_tokens,
    rejects_file,
    token_commit,
    token_folder,
    token_resolutions,
    tokens_fingerprint,
)
from manifests.verify.unit import Problem, most_rows, open_file, read_file, row_batches
from manifests.write.tar import Damaged, Walk

_TEXTS = 8  # of a pair: an instruction, and a text to give, of each of its four examples
_AGAIN = "run `make tokens` again"


def token_problems(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """What is wrong with the folders of tokens; nothing if there is none. `committed` are the dataset's units."""
    for pixels in token_resolutions(dataset):
        yield from _folder_problems(dataset, plan, committed, pixels)


def _folder_problems(dataset: Dataset, plan: Plan, committed: set[int], pixels: int) -> Iterator[Problem]:
    folder = token_folder(pixels)
    tokenized = committed_tokens(dataset, plan, pixels)
    endings = (".tar", ".parquet", ".rejects.parquet")
    names = dataset.store.names(folder)
    for file in names:
        unit = next((unit for ending in endings if (unit := plan.unit_of(file, ending)) is not None), None)
        if unit is None:
            yield f"{folder}/{file}", "does not belong to this dataset; remove it"
        elif unit not in tokenized:
            yield f"{folder}/{file}", f"is of a unit whose tokens are not committed: {_AGAIN} to go on"
    for file in dataset.store.temporary_names(folder):
        yield f"{folder}/{file}", f"is being written, or its writer was killed; {_AGAIN} and it is removed at the end"
    if names and (left := len(committed - tokenized)):
        yield folder, f"{left:,} of {len(committed):,} units have no tokens yet: {_AGAIN} to go on"
    fingerprints: dict[str, str] = {}
    for unit in sorted(tokenized):
        name = plan.name(unit)
        try:
            commit = token_commit(dataset, name, pixels)
        except FileNotFoundError:  # though it is listed
            yield f"{folder}/{name}.parquet", f"is a link to nothing; remove it and {_AGAIN}"
            continue
        except DatasetError as error:
            yield f"{folder}/{name}.parquet", str(error)
            continue
        fingerprints.setdefault(commit.fingerprint, name)
        way_out = f"remove {folder}/{name}.parquet and {_AGAIN} to write it anew"
        for file, message in _unit_problems(dataset, plan, unit, commit, pixels):
            yield f"{folder}/{file}", f"{message}; {way_out}"
    if len(fingerprints) > 1:
        yield folder, f"holds tokens of {len(fingerprints)} tokenizers, first {', '.join(fingerprints.values())}"


def _unit_problems(dataset: Dataset, plan: Plan, unit: int, commit: TokenCommit, pixels: int) -> Iterator[Problem]:
    """One unit's Parquet file, its tar, and its manifest's pairs."""
    name = plan.name(unit)
    table = f"{name}.parquet"
    try:
        columns = TOKENS.names
        rows = [
            row
            for batch in row_batches(read_file(dataset, f"{token_folder(pixels)}/{table}"), TOKENS, columns, plan.items)
            for row in batch.to_pylist()
        ]
        record = TokenizerRecord(**commit.tokenizer)
    except ValueError as error:
        yield table, str(error)
        return
    if commit.unit != unit:
        yield table, f"is the commit of unit {commit.unit} under another name"
    if commit.fingerprint != tokens_fingerprint(plan, record):
        yield table, "its fingerprint is not that of this dataset and the tokenizer it names"
    if pixels and record.resolution_px != pixels:
        yield table, f"is of images at {record.resolution_px} px"
    if commit.pairs != len(rows):
        yield table, f"records {commit.pairs} pairs and has {len(rows)}"
    try:
        pairs = _pairs(dataset, plan, name)
    except (ValueError, FileNotFoundError):
        pairs = None  # `check_unit` says so
    if pairs is not None and pairs != [row["pair"] for row in rows]:
        yield table, f"its pairs are not those of manifest/{table}"
    yield from _reject_problems(dataset, plan, name, commit, pixels)
    yield from _tar_problems(dataset, name, commit, rows, pixels)


def _reject_problems(dataset: Dataset, plan: Plan, name: str, commit: TokenCommit, pixels: int) -> Iterator[Problem]:
    """The unit's rejects against its commit."""
    file = rejects_file(name, pixels)
    if not commit.rejects:
        if dataset.store.exists(file):
            yield file.removeprefix(f"{token_folder(pixels)}/"), "is there, but its commit records no rejects"
        return
    try:
        data = read_file(dataset, file)
        most = _TEXTS * plan.items
        batches = row_batches(data, TEXT_REJECTS, ["reason"], most)
        reasons = [reason for batch in batches for reason in batch["reason"].to_pylist()]
        right = hashlib.sha256(data).hexdigest() == commit.rejects_sha256 and Counter(reasons) == Counter(
            commit.rejects
        )
    except (OSError, ValueError):
        right = False
    if not right:
        yield file.removeprefix(f"{token_folder(pixels)}/"), "is missing, damaged, or not what its commit records"


def _tar_problems(
    dataset: Dataset, name: str, commit: TokenCommit, rows: Sequence[Mapping[str, Any]], pixels: int
) -> Iterator[Problem]:
    """The tar against its commit; if it is as it was committed, the rows are to blame."""
    try:
        file = open_file(dataset, f"{token_folder(pixels)}/{name}.tar")
    except FileNotFoundError:
        yield f"{name}.tar", "is missing"
        return
    except DatasetError as error:
        yield f"{name}.tar", str(error)
        return
    with file:
        walk, found = Walk(file), dict[str, tuple[int, int]]()
        members, damage = 0, ""
        try:
            start = 0
            for member in walk.members():
                members += 1
                pair = member.name.partition(".")[0]
                found[pair] = (found.get(pair, (start, 0))[0], walk.bytes)
                start = walk.bytes
                if walk.bytes > commit.shard_bytes:
                    raise Damaged("it goes on beyond the bytes that its Parquet file records", member.offset)
        except Damaged as damaged:
            damage = f"{damaged}, at byte {damaged.offset:,} of {commit.shard_bytes:,}"
    if damage or (walk.bytes, walk.sha256, members) != (commit.shard_bytes, commit.shard_sha256, commit.members):
        yield f"{name}.tar", damage or "its size, sha256 or number of members is not what its Parquet file records"
        return
    placed = {row["pair"]: (row["offset"], row["offset"] + row["bytes"]) for row in rows}
    if placed != found:
        yield f"{name}.parquet", "its rows do not say where its pairs lie in the tar: it was edited"


def _pairs(dataset: Dataset, plan: Plan, name: str) -> list[str]:
    """The pairs of a unit's manifest, each once, in its order."""
    data = read_file(dataset, f"manifest/{name}.parquet")
    batches = row_batches(data, MANIFEST, ["pair"], most_rows(dataset, name, plan.items))
    return list(dict.fromkeys(pair for batch in batches for pair in batch["pair"].to_pylist()))
