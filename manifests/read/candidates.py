"""Reads the folder `candidates` of a dataset directory: what targets were chosen among (manifests/write/candidates.py).

No manifest vouches for it, so each candidate is checked against what it says of itself when its picture is read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from manifests.images.pixels import MAX_BYTES
from manifests.read.reader import Reader
from manifests.read.shards import verify_hint
from manifests.records import parse_json
from manifests.schema import DatasetError
from manifests.write.candidates import FOLDER, candidate_sha256
from manifests.write.tar import Damaged, Member, Walk, places

_MAX_JSON_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class StoredCandidate:
    """One of the pictures that a pair's target was chosen among."""

    pair: str
    source_ref: str
    won: bool
    reason: str | None
    """Why it could not be chosen; None if it could."""
    scores: Mapping[str, float]
    prompt: str | None
    said: Mapping[str, Any]
    """All that its JSON says, "sha256" aside: operator, params, seed, model, model_revision."""
    ending: str
    """The format of the picture's file."""
    picture_sha256: str
    dataset: Reader = field(repr=False, compare=False)
    file: str = field(repr=False)
    member: Member = field(repr=False)
    sha256: str = field(repr=False)

    def data(self) -> bytes:
        """The file of the picture. Raises DatasetError if it, or what is said of it, was changed."""
        data = self.dataset.store.read(self.file, self.member.offset, self.member.bytes)
        if candidate_sha256(self.said, data) != self.sha256:
            raise _damaged(self.dataset, self.file, f"candidate {self.member.name} is not what its JSON says")
        return data


def candidate_units(dataset: Reader) -> list[str]:
    """The names of the committed units that have candidates, in order."""
    there = set(dataset.store.names(FOLDER))
    return [name for name in dataset.unit_names() if f"{name}.tar" in there]


def candidates_of(dataset: Reader, unit: str) -> Iterator[tuple[str, list[StoredCandidate]]]:
    """The candidates of a unit, pair by pair. Raises DatasetError if they are damaged."""
    file = f"{FOLDER}/{unit}.tar"
    of_pair: list[StoredCandidate] = []
    picture: Member | None = None
    try:
        with dataset.store.open(file) as opened:
            for member in Walk(opened).members():
                if picture is None:
                    picture = member
                    continue
                candidate = _candidate(dataset, file, picture, member)
                picture = None
                if of_pair and of_pair[0].pair != candidate.pair:
                    yield of_pair[0].pair, of_pair
                    of_pair = []
                of_pair.append(candidate)
    except Damaged as damage:
        raise _damaged(dataset, file, str(damage)) from None
    if picture:
        raise _damaged(dataset, file, f"member {picture.name} is the last, and nothing is said of it")
    if of_pair:
        yield of_pair[0].pair, of_pair


def candidates_of_pair(dataset: Reader, unit: str, pair: str) -> list[StoredCandidate]:
    """The candidates of one pair of a unit, [] if it has none. Raises DatasetError if they are damaged.

    Of the archive the headers are read, and the members of that pair.
    """
    file = f"{FOLDER}/{unit}.tar"
    members: list[Member] = []
    try:
        with dataset.store.open(file) as opened:
            for name, offset, size in places(opened):
                if name.partition(".")[0] == pair:
                    if size > MAX_BYTES:
                        raise Damaged(f"member {name} is larger than any of ours", offset)
                    sha256 = hashlib.sha256(dataset.store.read(file, offset, size)).hexdigest()
                    members.append(Member(name=name, offset=offset, bytes=size, sha256=sha256))
                elif members:
                    break
    except FileNotFoundError:
        return []
    except Damaged as damage:
        raise _damaged(dataset, file, str(damage)) from None
    if len(members) % 2:
        raise _damaged(dataset, file, f"nothing is said of member {members[-1].name}")
    return [_candidate(dataset, file, *two) for two in zip(members[::2], members[1::2], strict=True)]


def _candidate(dataset: Reader, file: str, picture: Member, about: Member) -> StoredCandidate:
    stem, _, ending = picture.name.rpartition(".")
    if about.name != f"{stem}.json" or about.bytes > _MAX_JSON_BYTES:
        raise _damaged(dataset, file, f"members {picture.name} and {about.name} are not those of a candidate")
    try:
        said: dict[str, Any] = dict(parse_json(dataset.store.read(file, about.offset, about.bytes)))
        sha256 = said.pop("sha256")
        scores = {str(name): float(score) for name, score in said["scores"].items()}
        texts = [said[name] for name in ("pair", "source_ref")]
        optional = [said[name] for name in ("reason", "prompt")]
        sound = (
            all(isinstance(text, str) for text in texts)
            and all(text is None or isinstance(text, str) for text in optional)
            and isinstance(said["won"], bool)
            and all(map(math.isfinite, scores.values()))
            and stem.partition(".")[0] == said["pair"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise _damaged(dataset, file, f"what member {about.name} says is not what we write")
    return StoredCandidate(
        pair=said["pair"],
        source_ref=said["source_ref"],
        won=said["won"],
        reason=said["reason"],
        scores=scores,
        prompt=said["prompt"],
        said=said,
        ending=ending,
        picture_sha256=picture.sha256,
        dataset=dataset,
        file=file,
        member=picture,
        sha256=sha256,
    )


def _damaged(dataset: Reader, file: str, what: str) -> DatasetError:
    return DatasetError(f"{dataset.url}/{file} is damaged: {what}; {verify_hint(dataset.url)}")
