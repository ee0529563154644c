"""Writes one unit of a derived dataset: its tar, its rejects and its manifest, in the order that makes the last the
commit, as manifests/write/writer.py does."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from manifests.choose.selection import Selection
from manifests.dataset import Commit, Dataset, DatasetError, Plan, write_table
from manifests.read.places import place_from, url_at
from manifests.schema import MANIFEST, REJECTS, canonical_json
from manifests.verify.unit import read_file, row_batches
from manifests.write.reject_pictures import FOLDER as PICTURES
from manifests.write.tar import TarWriter
from manifests.write.writer import ROW_GROUP_ROWS, sample_json

STEP, VERSION = "choose", 1

Row = dict[str, Any]


def derive_unit(
    parent: Dataset, dataset: Dataset, plan: Plan, unit: int, files: Mapping[str, Sequence[str]], chosen: Selection
) -> Commit:
    """Write and commit the unit of the parent's one of the same name.

    `files` are those of each planned item, by its ref. Raises DatasetError if what the parent stores is not what its
    manifest says.
    """
    name = plan.name(unit)
    was = parent.commit(name)
    pairs = _pairs(parent, name)
    kept = [rows for rows in pairs if rows[0]["pair"] not in chosen.left_out]
    with dataset.store.write(f"shards/{name}.tar") as file:
        tar = TarWriter(file)
        written = [row for rows in kept for row in _stored(parent, dataset, tar, rows, chosen)]
        tar.finish()
    left_out = [_rejected(rows[0], files, chosen) for rows in pairs if rows[0]["pair"] in chosen.left_out]
    rejected = [{**row, "shard": f"{name}.tar"} for row in (*_rejects(parent, name), *left_out)]
    rejects = pa.Table.from_pylist(rejected, schema=REJECTS)
    _copy_pictures(parent, dataset, name)
    rejects_bytes = write_table(dataset.store, f"rejects/{name}.parquet", rejects, {"unit": unit})
    commit = Commit(
        unit=unit,
        fingerprint=plan.fingerprint,
        shard_bytes=tar.bytes,
        shard_sha256=tar.sha256,
        members=tar.members,
        rejects_sha256=hashlib.sha256(rejects_bytes).hexdigest(),
        pairs=len(kept),
        examples=Counter(f"{row['direction']} {row['kind']}" for row in written),
        without_context=sum(
            not row["contexts"] and plan.needs_context(row["direction"], row["kind"], row["inputs"]) for row in written
        ),
        rejects=Counter(rejects["reason"].to_pylist()),
        missing=_missing(was, kept),
    )
    write_table(
        dataset.store,
        f"manifest/{name}.parquet",
        pa.Table.from_pylist(written, schema=MANIFEST),
        vars(commit),
        range(ROW_GROUP_ROWS, len(written), ROW_GROUP_ROWS),
    )
    return commit


def _pairs(parent: Dataset, name: str) -> list[list[Row]]:
    """The rows of a unit's manifest, those of a pair together, in stored order."""
    pairs: dict[str, list[Row]] = {}
    for row in parent.table_of(name, MANIFEST.names).to_pylist():
        pairs.setdefault(row["pair"], []).append(row)
    return [*pairs.values()]


def _stored(parent: Dataset, dataset: Dataset, tar: TarWriter, rows: list[Row], chosen: Selection) -> Iterator[Row]:
    """Append a pair to the shard; its rows as they are now."""
    first = rows[0]
    images = []
    for image in first["images"]:
        data = parent.shards.read(first["shard"], image["offset"], image["bytes"])
        if hashlib.sha256(data).hexdigest() != image["sha256"]:
            raise DatasetError(
                f"{parent.url}/shards/{first['shard']}: {image['member']} is not what its manifest says: "
                f"run xprompt verify {parent.url}"
            )
        images.append({**image, "offset": tar.append(image["member"], data)})
    fixes = chosen.fixes(first["pair"])
    fixed = [{**row, "instruction": fixes.get((row["direction"], row["kind"]), row["instruction"])} for row in rows]
    sample = sample_json(first["task"], first["source"], first["source_ref"], first["licence"], fixed)
    tar.append(f"{first['pair']}.json", sample)
    steps = [*first["steps"], *_steps(rows, chosen)]
    for row in fixed:
        contexts = [
            {**one, "dataset": _place(parent, dataset, one["dataset"])}
            for one in row["contexts"]
            if one["dataset"] is not None or one["pair"] not in chosen.left_out
        ]
        method = row["context_method"] if contexts else None
        yield {**row, "images": images, "steps": steps, "contexts": contexts, "context_method": method}


def _steps(rows: list[Row], chosen: Selection) -> list[Row]:
    """What reviewers did to a pair, as a step of its provenance; none if nobody has decided."""
    pair = rows[0]["pair"]
    said = chosen.said(pair)
    if not said:
        return []
    fixes, params = chosen.fixes(pair), dict[str, Any](reviews=said)
    was = {(row["direction"], row["kind"]): row["instruction"] for row in rows}
    if fixes:
        params["fixed"] = [
            {"direction": direction, "kind": kind, "was": was[direction, kind]} for direction, kind in sorted(fixes)
        ]
    none = dict.fromkeys(("seed", "model", "model_revision", "prompt"))
    return [{"operator": STEP, "version": VERSION, "params": canonical_json(params), **none}]


def _place(parent: Dataset, dataset: Dataset, place: str | None) -> str | None:
    """Where a dataset lies whose pairs are in-context examples, seen from the derived one."""
    return None if place is None else place_from(dataset.url, url_at(parent.url, place))


def _rejected(row: Row, files: Mapping[str, Sequence[str]], chosen: Selection) -> Row:
    """The reject that a pair becomes that is left out."""
    return {
        "task": row["task"],
        "source": row["source"],
        "source_ref": row["source_ref"],
        "files": [*files.get(row["source_ref"], ())],
        "operator": STEP,
        "reason": chosen.left_out[row["pair"]],
        "message": chosen.told(row["pair"]),
        "scores": row["scores"],
        "pictures": [],
    }


def _copy_pictures(parent: Dataset, dataset: Dataset, name: str) -> None:
    """Copy the small pictures of the parent's rejects, whose rows are the same and name the same places."""
    file = f"{PICTURES}/{name}.tar"
    if parent.store.exists(file):
        with parent.store.open(file) as there, dataset.store.write(file) as here:
            shutil.copyfileobj(there, here)


def _rejects(parent: Dataset, name: str) -> list[Row]:
    """The rejects that the parent's unit has."""
    file = f"rejects/{name}.parquet"
    data = read_file(parent, file)
    if hashlib.sha256(data).hexdigest() != parent.commit(name).rejects_sha256:
        raise DatasetError(f"{parent.url}/{file} was edited or damaged: run xprompt verify {parent.url}")
    most = parent.plan().items
    return [row for batch in row_batches(data, REJECTS, [*REJECTS.names], most) for row in batch.to_pylist()]


def _missing(was: Commit, kept: Sequence[list[Row]]) -> dict[str, int]:
    """How many examples of the pairs that are kept wait for a later operator, by what the parent's unit records: keys
    begin with the direction and kind of an example that pairs lack."""
    lacking: Counter[str] = Counter()
    for rows in kept:
        there = {f"{row['direction']} {row['kind']}" for row in rows}
        lacking.update(key for key in was.missing if " ".join(key.split(" ")[:2]) not in there)
    return {key: min(count, lacking[key]) for key, count in was.missing.items() if lacking[key]}
