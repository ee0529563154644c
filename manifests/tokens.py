"""Token shards: what a trainer reads of a dataset, a few KB a pair, made once by a tokenizer.

    tokens/<task>-000000.tar       for each pair of the unit `<pair>.<role>.npy`, the codes of each of its images
                                   (uint16, h x w, 0 to codes - 1), and `<pair>.json`: its examples' text tokens
    tokens/<task>-000000.parquet   a row a pair: where it lies in the tar; its appearance is the commit
    tokens/<task>-000000.rejects.parquet   where there are any: the texts that have no tokens, and why, as rows of the
                                   rejects table; the examples that they belong to are left out of the tar

A unit is written tar first, the commit last, as in manifests/dataset.py, and its bytes depend on the dataset and the
tokenizer alone. `tokens-256/` has the same of images made smaller, for in-context examples of fewer tokens. Which pairs
those are is not repeated here: `manifest/` names them.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manifests.dataset import Dataset, DatasetError, Plan, write_table
from manifests.records import read_record, typed
from manifests.schema import TEXT_REJECTS, canonical_json
from manifests.write.tar import TarWriter

FOLDER = "tokens"


def token_folder(pixels: int = 0) -> str:
    """The folder of the token shards of images of `pixels` x `pixels`; 0: of the tokenizer's own resolution."""
    return f"{FOLDER}-{pixels}" if pixels else FOLDER


def token_resolutions(dataset: Dataset) -> list[int]:
    """The `pixels` of the token folders that a dataset may have: 0, and those of smaller images that are there."""
    found = (_SMALLER.fullmatch(name) for name in dataset.store.names(""))
    return [0, *sorted(int(match[1]) for match in found if match)]


_SMALLER = re.compile(rf"{FOLDER}-([1-9]\d{{0,4}})")

Codes = npt.NDArray[np.uint16]
"""The code grid of an image, h x w."""

MAX_CODES = 2**16
"""Size of the largest codebook that fits."""

TOKENS = pa.schema(
    [
        pa.field("pair", pa.string(), False),
        pa.field("offset", pa.int64(), False),  # of the header of the pair's first member in the tar
        pa.field("bytes", pa.int64(), False),  # from there to the end of its last member's padding
    ]
)


@dataclass(frozen=True, kw_only=True)
class TokenizerRecord:
    """Everything about a tokenizer that the tokens it makes depend on."""

    vq_sha256: str
    """The hash of the preparation of images, the encoder's weights and the codebook."""
    text_sha256: str
    """The hash of the text tokenizer's file and of the rules by which it is used."""
    resolution_px: int
    """Side of the square that images are cropped and scaled to."""
    codes: int
    """How many entries the codebook has."""


@dataclass(frozen=True, kw_only=True)
class TokenCommit:
    """The metadata of a committed unit's Parquet file."""

    unit: int
    fingerprint: str
    tokenizer: Mapping[str, Any]
    shard_bytes: int
    shard_sha256: str
    members: int
    pairs: int
    rejects: Mapping[str, int]
    """How many texts have no tokens, by reason."""
    rejects_sha256: str
    """The hash of the file of rejects, or "" where there is none."""


@dataclass(frozen=True, kw_only=True)
class PairTokens:
    """One pair: its images by role, its examples, and rows of the rejects table for texts that have no tokens.

    An example has "direction", "kind", "inputs" (roles), "output" (a role, or ""), and, as token ids, "instruction"
    and "text" (none for a generate example).
    """

    pair: str
    images: Mapping[str, Codes]
    examples: Sequence[Mapping[str, Any]]
    rejects: Sequence[Mapping[str, Any]]


def rejects_file(name: str, pixels: int = 0) -> str:
    """The file of a unit's rejects, in a dataset's directory."""
    return f"{token_folder(pixels)}/{name}.rejects.parquet"


def tokens_fingerprint(plan: Plan, tokenizer: TokenizerRecord) -> str:
    """The hash of everything that token shards depend on."""
    return hashlib.sha256(canonical_json([plan.fingerprint, asdict(tokenizer)]).encode()).hexdigest()


def write_tokens(
    dataset: Dataset, plan: Plan, unit: int, tokenizer: TokenizerRecord, pairs: Iterable[PairTokens], pixels: int = 0
) -> TokenCommit:
    """Write and commit the tokens of a unit, taking its pairs as they come, into `token_folder(pixels)`."""
    folder = token_folder(pixels)
    name, rows, rejects = plan.name(unit), [], list[Mapping[str, Any]]()
    with dataset.store.write(f"{folder}/{name}.tar") as file:
        tar = TarWriter(file)
        for pair in pairs:
            start = tar.bytes
            for role, codes in pair.images.items():
                tar.append(f"{pair.pair}.{role}.npy", _npy(codes))
            tar.append(f"{pair.pair}.json", canonical_json({"examples": pair.examples}).encode())
            rows.append({"pair": pair.pair, "offset": start, "bytes": tar.bytes - start})
            rejects += pair.rejects
        tar.finish()
    rejects_bytes = b""
    if rejects:
        rejected = pa.Table.from_pylist(rejects, schema=TEXT_REJECTS)
        rejects_bytes = write_table(dataset.store, rejects_file(name, pixels), rejected, {"unit": unit})
    commit = TokenCommit(
        unit=unit,
        fingerprint=tokens_fingerprint(plan, tokenizer),
        tokenizer=asdict(tokenizer),
        shard_bytes=tar.bytes,
        shard_sha256=tar.sha256,
        members=tar.members,
        pairs=len(rows),
        rejects=Counter(reject["reason"] for reject in rejects),
        rejects_sha256=hashlib.sha256(rejects_bytes).hexdigest() if rejects else "",
    )
    table = pa.Table.from_pylist(rows, schema=TOKENS)
    write_table(dataset.store, f"{folder}/{name}.parquet", table, vars(commit))
    return commit


def committed_tokens(dataset: Dataset, plan: Plan, pixels: int = 0) -> set[int]:
    """Indices of the units whose tokens are committed: a listing, no file is opened."""
    units = (plan.unit_of(name, ".parquet") for name in dataset.store.names(token_folder(pixels)))
    return {unit for unit in units if unit is not None}


def token_commit(dataset: Dataset, name: str, pixels: int = 0, data: bytes | None = None) -> TokenCommit:
    """What a unit's Parquet file records; `data` are its bytes, if they have been read.

    Raises DatasetError, naming the file, if it cannot be read.
    """
    way_out = "remove it and run `make tokens` again to write it anew"
    file = f"{token_folder(pixels)}/{name}.parquet"
    commit, rows = read_record(TokenCommit, dataset.store, dataset.url, file, way_out, data)
    try:
        typed(TokenizerRecord, commit.tokenizer)
        if rows != commit.pairs:
            raise ValueError(f"it records {commit.pairs:,} pairs and has {rows:,}")
    except ValueError as error:
        raise DatasetError(f"{dataset.url}/{file} has other metadata than ours: {error}; {way_out}") from error
    return commit


def refuse_other_tokenizer(dataset: Dataset, plan: Plan, tokenizer: TokenizerRecord, pixels: int = 0) -> None:
    """Raises DatasetError if a committed unit's tokens are of another tokenizer: they are never mixed."""
    for unit in sorted(committed_tokens(dataset, plan, pixels)):
        commit = token_commit(dataset, plan.name(unit), pixels)
        if commit.fingerprint != tokens_fingerprint(plan, tokenizer):
            changed = [
                f"{key} {commit.tokenizer.get(key)} there, {value} now"
                for key, value in asdict(tokenizer).items()
                if commit.tokenizer.get(key) != value
            ]
            raise DatasetError(
                f"{dataset.url}/{token_folder(pixels)} holds tokens of another {'tokenizer' if changed else 'dataset'} "
                f"({'; '.join(changed) or 'fingerprint'}): remove that folder to tokenize anew"
            )


def _npy(codes: Codes) -> bytes:
    assert codes.dtype == np.uint16 and codes.ndim == 2, (codes.dtype, codes.shape)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(codes), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
