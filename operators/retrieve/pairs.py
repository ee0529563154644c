"""Reads of a dataset's manifests what retrieval goes by: a pair's names, instruction, pictures and their hashes, and
which examples it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.images.phash import as_integer
from manifests.read.pairs import pair_starts
from manifests.read.shards import verify_hint
from manifests.records import parse_json
from manifests.schema import shown_inputs
from manifests.verify.unit import EXAMPLES
from manifests.write.contexts import needing
from operators.retrieve.distance import Ints

KINDS = [*EXAMPLES]
"""Direction and kind of the examples that a pair may have; below, a kind is a place in this list."""

_PLACE = {kind: place for place, kind in enumerate(KINDS)}
_SEARCHED_BY = [_PLACE["forward", "generate"], _PLACE["reverse", "generate"], *_PLACE.values()]
"""By which example a pair is searched: the first that it has."""

_COLUMNS = ["pair", "direction", "kind", "instruction", "inputs", "output", "source_group", "shard", "images"]
_MASK = "mask"
_GROUPED_BY = (("style_prompts", "style"), ("difference", "subtask"))
"""Operator and parameter by which a pair's provenance names its style or sub-task."""

_POSED_BY = ("person_prompts", "pose_groups")
"""Operators that make persons of one pose of one original picture. That picture is what their pairs are to have in
common (paper section 4.5), so it is no leak between them: what is compared is the person that is asked for alone."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Where an image of a pair is stored."""

    sha256: str
    shard: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows of a unit's manifest: of which pair and kind each is, and whether it is to have a context."""

    name: str
    pair: Ints
    kind: Ints
    needs: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The n pairs of a dataset in the order of its manifests."""

    keys: list[str]
    sources: list[str]
    """Names of the original pictures."""
    contents: list[bytes]
    """A digest of the pair's files."""
    hashes: list[list[int]]
    """The perceptual hashes of the pair's images. Of a flat image, which has none, the first bits of its file's sha256
    if it is an output, and nothing else; a mask shows no picture."""
    pictures: list[tuple[Picture, ...]]
    """The images that the pair is searched by: those that the example shows before its output."""
    groups: list[str]
    """The style, pose or sub-task of each pair, "" if none is recorded; empty if they were not asked for."""
    texts: list[str]
    """Distinct instructions that pairs are searched by, in order of appearance."""
    text: Ints
    inputs: Ints
    """[kind, n]: how many input images the example has, -1 where the pair has no such example."""
    needs: NDArray[np.bool_]
    """[kind, n]: which examples are to have a context."""
    parts: list[Part]

    @classmethod
    def of(cls, dataset: Dataset, plan: Plan, *, grouped: bool = False) -> Self:
        """Read the pairs of a dataset, with their styles, poses and sub-tasks if asked for.

        Raises DatasetError if one of its units is not committed, or a manifest was edited.
        """
        if len(dataset.committed()) < plan.units:
            raise DatasetError(f"{dataset.url} is unfinished: run the command that makes it again, then this one")
        units = [_Unit.of(dataset, plan, plan.name(unit), grouped) for unit in range(plan.units)]
        instructions = [text for unit in units for text in unit.instructions]
        number = {text: place for place, text in enumerate(dict.fromkeys(instructions))}
        starts = np.cumsum([0, *(len(unit.keys) for unit in units)])
        return cls(
            keys=[key for unit in units for key in unit.keys],
            sources=[source for unit in units for source in unit.sources],
            contents=[content for unit in units for content in unit.contents],
            hashes=[some for unit in units for some in unit.hashes],
            pictures=[some for unit in units for some in unit.pictures],
            groups=[group for unit in units for group in unit.groups],
            texts=[*number],
            text=np.fromiter((number[text] for text in instructions), np.int64, len(instructions)),
            inputs=np.hstack([unit.inputs for unit in units]),
            needs=np.hstack([unit.needs for unit in units]),
            parts=[
                Part(name=unit.name, pair=unit.pair + start, kind=unit.kind, needs=unit.row_needs)
                for unit, start in zip(units, starts, strict=False)
            ],
        )


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """What `Pairs` has, of one unit."""

    name: str
    keys: list[str]
    sources: list[str]
    contents: list[bytes]
    hashes: list[list[int]]
    pictures: list[tuple[Picture, ...]]
    groups: list[str]
    instructions: list[str]
    inputs: Ints
    needs: NDArray[np.bool_]
    pair: Ints
    kind: Ints
    row_needs: NDArray[np.bool_]

    @classmethod
    def of(cls, dataset: Dataset, plan: Plan, name: str, grouped: bool) -> Self:
        table = dataset.table_of_unit(name, [*_COLUMNS, *(["steps"] if grouped else [])])
        starts = pair_starts(table["pair"])
        pair = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(table))))
        needed = np.asarray(needing(table, plan).to_numpy(zero_copy_only=False), bool)
        try:
            kinds = zip(table["direction"].to_pylist(), table["kind"].to_pylist(), strict=True)
            kind = np.fromiter((_PLACE[of] for of in kinds), np.int64, len(table))
            first = table.take(pa.array(starts, pa.int64()))
            images = [*_images(first)]
            row_of = np.full((len(KINDS), len(starts)), -1, np.int64)
            row_of[kind, pair] = np.arange(len(table))
            asked = _searched_by(row_of)
            roles = table["inputs"].take(pa.array(asked)).to_pylist()
            counts = np.asarray(pc.list_value_length(table["inputs"]).to_numpy(), np.int64)
            there = row_of >= 0
            keys, sources = first["pair"].to_pylist(), first["source_group"].to_pylist()
            groups, compared = [""] * len(keys), [{**some} for some in images]
            answers = _answers(table["output"], pair, len(starts))
            if grouped:
                outputs = table["output"].take(pa.array(asked)).to_pylist()
                for number, steps in enumerate(first["steps"].to_pylist()):
                    groups[number] = _group(steps)
                    if any(step["operator"] in _POSED_BY for step in steps):
                        groups[number], sources[number] = f"pose {sources[number]}", keys[number]
                        compared[number] = {outputs[number]: images[number][outputs[number]]}
            return cls(
                name=name,
                keys=keys,
                sources=sources,
                contents=[_content(some) for some in compared],
                hashes=[_looks(some, outputs) for some, outputs in zip(compared, answers, strict=True)],
                pictures=[
                    tuple(_picture(some[role], shard) for role in shown_inputs(shown, some))
                    for some, shown, shard in zip(images, roles, first["shard"].to_pylist(), strict=True)
                ],
                groups=groups if grouped else [],
                instructions=table["instruction"].take(pa.array(asked)).to_pylist(),
                inputs=np.where(there, counts[row_of], -1),
                needs=there & needed[row_of],
                pair=pair,
                kind=kind,
                row_needs=needed,
            )
        except (KeyError, ValueError) as error:
            raise DatasetError(
                f"{dataset.url}/manifest/{name}.parquet was edited: {error}; {verify_hint(dataset.url)}"
            ) from None


def _images(first: pa.Table) -> Iterator[dict[str, dict[str, Any]]]:
    """The records of each pair's images by role."""
    images = first["images"].combine_chunks()
    flat = images.flatten()
    names = ("role", "sha256", "phash", "offset", "bytes")
    records = zip(*(flat.field(name).to_pylist() for name in names), strict=True)
    for count in pc.list_value_length(images).to_pylist():
        some = [dict(zip(names, next(records), strict=True)) for _ in range(count)]
        yield {one["role"]: one for one in some}


def _answers(output: pa.ChunkedArray, pair: Ints, pairs: int) -> list[set[str]]:
    """The roles that are an output of some example, for each of so many pairs; `pair` is that of each row."""
    roles: list[set[str]] = [set() for _ in range(pairs)]
    for number, role in zip(pair.tolist(), output.to_pylist(), strict=True):
        if role is not None:
            roles[number].add(role)
    return roles


def _looks(images: dict[str, dict[str, Any]], outputs: set[str]) -> list[int]:
    """What `Pairs.hashes` has, of one pair. Unrelated sha256 are within 8 of 64 bits once in 3.6e9 pairs."""
    found = []
    for role, one in images.items():
        if role != _MASK and one["phash"]:
            found.append(as_integer(one["phash"]))
        elif role in outputs and role != _MASK:
            found.append(as_integer(one["sha256"][:16]))
    return found


def _content(images: dict[str, dict[str, Any]]) -> bytes:
    files = sorted(one["sha256"] for role, one in images.items() if role != _MASK)
    return hashlib.blake2b("\n".join(files).encode(), digest_size=16).digest()


def _picture(image: dict[str, Any], shard: str) -> Picture:
    return Picture(sha256=image["sha256"], shard=shard, offset=image["offset"], length=image["bytes"])


def _group(steps: Sequence[dict[str, Any]]) -> str:
    """The style or sub-task that a pair's provenance names, "" for none."""
    for operator, parameter in _GROUPED_BY:
        for step in steps:
            if step["operator"] == operator:
                named = parse_json(step["params"].encode())
                if isinstance(named, dict) and named.get(parameter):
                    return f"{parameter} {named[parameter]}"
    return ""


def _searched_by(row_of: Ints) -> Ints:
    """For each pair the row of the example that it is searched by; `row_of` is [kind, n], -1 where there is none."""
    by_preference = row_of[_SEARCHED_BY]
    chosen: Ints = by_preference[(by_preference >= 0).argmax(0), np.arange(row_of.shape[1])]
    return chosen
