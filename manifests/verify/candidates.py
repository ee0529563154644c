"""Checks the folder `candidates` of a dataset directory: each candidate against what it says of itself and its unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.images.pixels import MAX_BYTES
from manifests.records import parse_json
from manifests.schema import MANIFEST, REJECTS, canonical_json
from manifests.verify.unit import Problem, most_rows, open_file, read_file, row_batches
from manifests.write.candidates import FOLDER, candidate_sha256
from manifests.write.tar import Damaged, Member, Walk

_MAX_JSON_BYTES = 2**20


def candidate_problems(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """What is wrong with the candidates of committed units; nothing for units that have none."""
    there = set(dataset.store.names(FOLDER))
    for unit in sorted(committed):
        name = plan.name(unit)
        file = f"{FOLDER}/{name}.tar"
        if f"{name}.tar" not in there:
            continue
        way_out = f"remove it, or to write it anew remove manifest/{name}.parquet and run the same command again"
        for message in _tar_problems(dataset, plan, name, file):
            yield file, f"{message}; {way_out}"


def _tar_problems(dataset: Dataset, plan: Plan, name: str, file: str) -> Iterator[str]:
    """What is wrong with one unit's candidates: with the tar, with a candidate, with the candidates of a pair."""
    members: list[Member] = []
    try:
        with open_file(dataset, file) as opened:
            for member in Walk(opened).members():
                if member.bytes > MAX_BYTES:
                    yield f"member {member.name} has {member.bytes:,} bytes, more than a picture can have"
                    return
                members.append(member)
    except DatasetError as error:
        yield str(error)
        return
    except Damaged as damage:
        yield f"{damage}, at byte {damage.offset:,}"
        return
    if not members or len(members) % 2:
        yield "its members are not a picture and a JSON for each candidate"
        return
    records: dict[str, list[dict[str, Any] | None]] = {}
    """Pair -> what is said of each of its candidates, None of one that is damaged."""
    for picture, about in zip(members[::2], members[1::2], strict=True):
        pair = picture.name.partition(".")[0]
        of_pair = records.setdefault(pair, [])
        stem = f"{pair}.{len(of_pair)}"
        if picture.name.rpartition(".")[0] != stem or about.name != f"{stem}.json":
            yield f"members {picture.name} and {about.name} are not those of candidate {stem}"
            return
        of_pair.append(_record(dataset, file, picture, about))
        if of_pair[-1] is None:
            yield f"candidate {stem} is not what its JSON says: one of them was changed"
    try:
        most = most_rows(dataset, name, plan.items)
        kept = dict(_rows(dataset, f"manifest/{name}.parquet", MANIFEST, ["pair", "source_ref"], most))
        rejected = {ref for (ref,) in _rows(dataset, f"rejects/{name}.parquet", REJECTS, ["source_ref"], plan.items)}
    except (ValueError, FileNotFoundError):
        return  # `check_unit` says so
    for pair, of_pair in records.items():
        whole = [record for record in of_pair if record is not None]
        if len(whole) < len(of_pair):
            continue
        refs, winners = {record["source_ref"] for record in whole}, sum(record["won"] for record in whole)
        if refs != {kept.get(pair)} and not refs <= rejected:
            yield f"pair {pair} of {', '.join(refs)} is neither in the unit's manifest nor among its rejects"
        elif winners != (pair in kept):
            yield f"{winners} candidates of pair {pair} won: one is to, or none if the pair was rejected"


def _record(dataset: Dataset, file: str, picture: Member, about: Member) -> dict[str, Any] | None:
    """What a candidate's JSON says, or None if it was changed, or is of another picture or pair."""
    if picture.bytes > MAX_BYTES or about.bytes > _MAX_JSON_BYTES:
        return None
    image, data = (dataset.store.read(file, member.offset, member.bytes) for member in (picture, about))
    try:
        record: dict[str, Any] = parse_json(data)
        sha256 = record["sha256"]
        said = {key: value for key, value in record.items() if key != "sha256"}
        sound = (
            canonical_json(record).encode() == data
            and record["pair"] == picture.name.partition(".")[0]
            and isinstance(record["source_ref"], str)
            and isinstance(record["won"], bool)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if sound and sha256 == candidate_sha256(said, image) else None


def _rows(dataset: Dataset, file: str, schema: Any, columns: list[str], most: int) -> Iterator[tuple[Any, ...]]:
    """Some columns of a Parquet file's rows. Raises DatasetError for a damaged one, FileNotFoundError if it is gone."""
    for batch in row_batches(read_file(dataset, file), schema, columns, most):
        yield from zip(*batch.to_pydict().values(), strict=True)
