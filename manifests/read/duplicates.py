"""Near-duplicate images within a dataset and across datasets, by the perceptual hashes in the manifests.

Images of one pair resemble each other on purpose, so a group counts only if it spans two pairs or more. Images
without a hash (flat or undecodable) are counted and not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from manifests.dataset import DatasetError
from manifests.images.near import groups
from manifests.images.phash import Hashes
from manifests.read.pairs import pair_starts
from manifests.read.query import datasets_by_task
from manifests.read.shards import verify_hint
from manifests.schema import MASK


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One image of a group."""

    task: str
    pair: str
    role: str
    shard: str
    phash: str


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """The answer: groups of images, the largest first, and how many images were looked at."""

    images: int
    without_hash: int
    groups: list[list[Sighting]] = field(default_factory=list)


def find_duplicates(url: str, distance: int) -> Duplicates:
    """Groups of images at most `distance` bits apart, step by step, in the dataset(s) at a URL.

    Two passes over the manifests: hashes alone are kept of all images (some 100 bytes each at the peak), names only of
    those in groups. Raises DatasetError if there is no dataset or one without hashes.
    """
    hashes, pairs, without_hash = _hashes(url)
    if not len(hashes):
        return Duplicates(images=without_hash, without_hash=without_hash)
    labels = groups(hashes, distance)
    found = _spanning_two_pairs(labels, pairs)
    members: dict[int, list[Sighting]] = {}
    start = 0
    for task, table in _images(url):
        inside = np.flatnonzero(found[start : start + table.num_rows])
        for label, row in zip(labels[start + inside], table.take(inside).to_pylist(), strict=True):
            members.setdefault(int(label), []).append(Sighting(task=task, **row))
        start += table.num_rows
    ordered = sorted(members.values(), key=len, reverse=True)  # stable: equals in order of their first image
    return Duplicates(images=len(hashes) + without_hash, without_hash=without_hash, groups=ordered)


def _hashes(url: str) -> tuple[Hashes, Hashes, int]:
    """Of each image with a hash: the hash, and a number for its pair; and how many images have none."""
    hashes, pairs, without_hash = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)], 0
    for task, table in _images(url, without_hash=True):
        without_hash += table["phash"].null_count
        table = table.filter(pc.field("phash").is_valid())
        try:
            hashes.append(_first_64_bits(table["phash"]))
            pairs.append(_first_64_bits(table["pair"]))
        except ValueError as error:
            raise DatasetError(f"{url}: a manifest of {task} was edited: {error}; {verify_hint(url)}") from None
    return np.concatenate(hashes), np.concatenate(pairs), without_hash


def _images(url: str, *, without_hash: bool = False) -> Iterator[tuple[str, pa.Table]]:
    """Task and images of each unit: pair, role, shard, phash. Always in the same order."""
    for task, dataset in datasets_by_task(url).items():
        for name in dataset.unit_names():
            rows = dataset.table_of_unit(name, ["pair", "shard", "images"])
            if rows.field("images").type.value_type.get_field_index("phash") < 0:
                raise DatasetError(f"{dataset.url} was written before images had hashes; write the dataset again")
            # A pair's examples are neighbours, and each names all its images.
            first = rows.take(pa.array(pair_starts(rows["pair"]), pa.int64()))
            yield task, _flat(first, without_hash)


def _flat(rows: pa.Table, without_hash: bool) -> pa.Table:
    """A row for each image but the masks: shapes in black and white, of which many are alike."""
    images = pc.list_flatten(rows["images"])
    parents = pc.list_parent_indices(rows["images"])
    role, phash = pc.struct_field(images, "role"), pc.struct_field(images, "phash")
    pair, shard = rows["pair"].take(parents), rows["shard"].take(parents)
    table = pa.table({"pair": pair, "role": role, "shard": shard, "phash": phash}).filter(pc.field("role") != MASK)
    return table if without_hash else table.filter(pc.field("phash").is_valid())


def _first_64_bits(digits: pa.ChunkedArray) -> Hashes:
    return np.array([int(text[:16], 16) for text in digits.to_pylist()], np.uint64)


def _spanning_two_pairs(labels: npt.NDArray[np.int64], pairs: Hashes) -> npt.NDArray[np.bool_]:
    """For each image whether its group has images of two pairs."""
    order = np.argsort(labels, kind="stable")
    same_group = labels[order][1:] == labels[order][:-1]
    mixed = same_group & (pairs[order][1:] != pairs[order][:-1])
    result = np.zeros(int(labels.max()) + 1, np.bool_)
    result[labels[order][1:][mixed]] = True
    return np.asarray(result[labels])
