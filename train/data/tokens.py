"""Reads the token shards that `make tokens` writes, as untrusted input: whole or not at all.

    tokens/derain-000000.tar       per pair: <pair>.<role>.npy (uint16 [h, w] image codes) for each role, <pair>.json
    tokens/derain-000000.parquet   its commit: one row a pair (pair, offset, bytes), hashes and counts in the metadata

A shard is a few megabytes, so it is read in one go. Its sha256, its framing, every array and every id are checked
before any of it is used; nothing in it is unpickled, evaluated or unpacked to disk.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manifests.dataset import Dataset, DatasetError
from manifests.parquet import ParquetFile, refuse_large_pages
from manifests.records import parse_json
from manifests.remote import is_outage
from manifests.schema import in_a_line, shown_inputs
from manifests.tokens import TOKENS, Codes, TokenCommit, token_commit, token_folder
from manifests.write.tar import Damaged, Member, Walk
from xprompt_model.layout import Turn
from xprompt_model.vocabulary import Vocabulary

MAX_SHARD_BYTES = 2**28
"""A token shard is about 5 MB; far above that it is not one of ours, and it would be read into memory."""

_MAX_JSON_BYTES = 2**20
_WHY_CHARS = 300  # of what is wrong with a shard, which may repeat what it has
_MAX_PAIRS = MAX_SHARD_BYTES // 1024
"""Each pair has at least a header and a JSON, of 512 bytes each, in the tar."""

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(rb"\{'descr': '<u2', 'fortran_order': False, 'shape': \((\d{1,4}), (\d{1,4})\), \} *\n")
_PAIR = re.compile("[0-9a-f]{32}")
_ROLE = re.compile("[A-Za-z0-9_-]{1,64}")
_EXAMPLE_KEYS = {"direction", "kind", "inputs", "output", "instruction", "text"}


class BadShard(ValueError):
    """A token shard that cannot be used. One line: the file, and what is wrong with it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One pair as tokens: its turns by (direction, kind), and its images by role."""

    pair: str
    turns: Mapping[tuple[str, str], Turn]
    images: Mapping[str, Codes]

    def shown(self, name: tuple[str, str]) -> Turn:
        """A turn as it is in an in-context example: with the inputs that it shows (`manifests.schema.shown_inputs`)."""
        turn = self.turns[name]
        if turn.inputs:
            return turn
        return replace(turn, inputs=tuple(self.images[role] for role in shown_inputs((), self.images)))


def read_commit(dataset: Dataset, name: str, pixels: int = 0) -> tuple[TokenCommit, pa.Table]:
    """A shard's commit and its rows (pair, offset, bytes), in the shard's order; `pixels` as `token_folder` has it.

    Raises BadShard; OSError if a bucket cannot be read now, for which no shard is to be left out.
    """
    file = f"{token_folder(pixels)}/{name}.parquet"
    path = dataset.store.path(file)
    try:
        data = dataset.store.read(file, 0, MAX_SHARD_BYTES + 1)
        if len(data) > MAX_SHARD_BYTES:
            raise BadShard(f"it has more than {MAX_SHARD_BYTES:,} bytes")
        commit = token_commit(dataset, name, pixels, data)
        if commit.pairs > _MAX_PAIRS:
            raise BadShard(f"it has {commit.pairs:,} pairs, at most {_MAX_PAIRS:,} are read")
        with ParquetFile(io.BytesIO(data), page_checksum_verification=True) as parquet:
            refuse_large_pages(data, parquet.metadata)
            table = parquet.read()
            table.validate(full=True)
        if not table.schema.remove_metadata().equals(TOKENS):
            raise BadShard("its columns are other ones")
        if table.num_rows != commit.pairs:
            raise BadShard("it does not agree with its own counts")
        return commit, table
    except (pa.ArrowException, OSError, BadShard) as error:
        if is_outage(error):
            raise
        raise BadShard(f"{path} is refused: {in_a_line(error, _WHY_CHARS)}") from error
    except DatasetError as error:
        raise BadShard(in_a_line(error, _WHY_CHARS)) from error


def read_shard(
    dataset: Dataset, name: str, vocabulary: Vocabulary, *, pixels: int = 0, side_tokens: int | None = None
) -> list[Sample]:
    """The samples of a shard, in the order of its commit's rows. Raises as `read_commit`; memory: the shard.

    Of the shards of smaller images at `pixels`, whose grids are `side_tokens` x `side_tokens`.
    """
    commit, table = read_commit(dataset, name, pixels)
    file = f"{token_folder(pixels)}/{name}.tar"
    try:
        if not 0 < commit.shard_bytes <= MAX_SHARD_BYTES:
            raise BadShard(f"it should have {commit.shard_bytes:,} bytes; at most {MAX_SHARD_BYTES:,} are read")
        data = dataset.store.read(file, 0, commit.shard_bytes + 1)
        walk = Walk(io.BytesIO(data))
        members = list(walk.members())
        if len(data) != commit.shard_bytes or walk.sha256 != commit.shard_sha256:
            raise BadShard("its size or sha256 is not what its commit records")
        if len(members) != commit.members:
            raise BadShard(f"it has {len(members)} members, its commit records {commit.members}")
        side = side_tokens or vocabulary.image_side_tokens
        return _samples(data, members, table.to_pylist(), vocabulary, side)
    except (OSError, Damaged, BadShard) as error:
        if is_outage(error):
            raise
        raise BadShard(f"{dataset.store.path(file)} is refused: {in_a_line(error, _WHY_CHARS)}") from error


def _samples(
    data: bytes, members: Sequence[Member], rows: list[dict[str, Any]], vocabulary: Vocabulary, side: int
) -> list[Sample]:
    """Each row's members, which must be contiguous and lie where the row says."""
    samples, left, end = [], list(reversed(members)), 0
    seen: set[str] = set()
    for row in rows:
        pair = row["pair"]
        if not _PAIR.fullmatch(pair) or pair in seen:
            raise BadShard(f"pair {pair[:40]!r} is not 32 hex digits, or there twice")
        seen.add(pair)
        if row["offset"] != end:
            raise BadShard(f"pair {pair} is not at offset {row['offset']}")
        images: dict[str, Codes] = {}
        while left and (member := left.pop()).name != f"{pair}.json":
            key, _, rest = member.name.partition(".")
            role, _, suffix = rest.partition(".")
            if key != pair or suffix != "npy" or not _ROLE.fullmatch(role) or role in images:
                raise BadShard(f"member {member.name[:100]!r} does not belong to pair {pair}")
            images[role] = _codes(member, data, vocabulary, side)
        if member.name != f"{pair}.json":
            raise BadShard(f"pair {pair} has no json")
        end = member.offset + member.bytes + -member.bytes % 512
        if row["offset"] + row["bytes"] != end:
            raise BadShard(f"pair {pair} has not {row['bytes']} bytes")
        samples.append(Sample(pair=pair, turns=_turns(member, data, images, vocabulary), images=images))
    if left:
        raise BadShard(f"member {left[-1].name[:100]!r} is in no row of its commit")
    return samples


def _codes(member: Member, data: bytes, vocabulary: Vocabulary, side: int) -> Codes:
    """A .npy file that is byte for byte of the one form that is written: uint16, C order, [h, w], codes in range."""
    content = data[member.offset : member.offset + member.bytes]
    start = 10 + int.from_bytes(content[8:10], "little")
    header = _NPY_HEADER.fullmatch(content[10:start]) if content.startswith(_NPY_MAGIC) else None
    if header is None:
        raise BadShard(f"{member.name} is not a uint16 array of two dimensions")
    shape = (int(header[1]), int(header[2]))
    if shape != (side, side) or len(content) != start + 2 * side * side:
        raise BadShard(f"{member.name} has shape {shape[0]} x {shape[1]}, not the tokenizer's {side} x {side}")
    codes = np.frombuffer(content, "<u2", offset=start).reshape(shape)
    if codes.max() >= len(vocabulary.image_ids):
        raise BadShard(f"{member.name} has code {codes.max()}; the codebook has {len(vocabulary.image_ids)}")
    return codes


def _turns(
    member: Member, data: bytes, images: Mapping[str, Codes], vocabulary: Vocabulary
) -> dict[tuple[str, str], Turn]:
    """The examples of a pair's json, with their images in place of their roles."""
    if member.bytes > _MAX_JSON_BYTES:
        raise BadShard(f"{member.name} has {member.bytes:,} bytes")
    try:
        sample = parse_json(data[member.offset : member.offset + member.bytes])
        turns = [_turn(example, images, vocabulary) for example in sample["examples"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadShard(f"{member.name} is not a list of examples: {in_a_line(error, _WHY_CHARS)}") from error
    if len(dict(turns)) != len(turns):
        raise BadShard(f"{member.name} has two examples of a direction and kind")
    return dict(turns)


def _turn(example: Any, images: Mapping[str, Codes], vocabulary: Vocabulary) -> tuple[tuple[str, str], Turn]:
    if not isinstance(example, dict) or set(example) != _EXAMPLE_KEYS:
        raise ValueError("an example has other keys")
    direction, kind, output = example["direction"], example["kind"], example["output"]
    if not isinstance(example["inputs"], list):
        raise ValueError("its inputs are no list")
    if direction not in ("forward", "reverse") or kind not in ("generate", "describe"):
        raise ValueError("an example has another direction or kind")
    roles = [*example["inputs"], *([output] if kind == "generate" else [])]
    if missing := [str(role)[:64] for role in roles if not isinstance(role, str) or role not in images]:
        raise ValueError(f"there is no image {missing[0]!r}")
    if len(set(example["inputs"])) < len(example["inputs"]):
        raise ValueError("an example shows an image twice")
    if (kind == "describe") != (output == "") or (kind == "describe") != bool(example["text"]):
        raise ValueError("an example has not either an image or a text to give")
    turn = Turn(
        instruction=_text(example["instruction"], vocabulary),
        inputs=tuple(images[role] for role in example["inputs"]),
        output=images[output] if kind == "generate" else _text(example["text"], vocabulary),
    )
    return (direction, kind), turn


def _text(ids: Any, vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Text ids, all integers and all in the vocabulary's text."""
    if not isinstance(ids, list) or not all(type(token) is int and 0 <= token < vocabulary.size for token in ids):
        raise ValueError(f"a text has ids that are not of the vocabulary's {vocabulary.size:,}")
    return vocabulary.text(ids)
