"""Wrong contexts, rejects, plans and totals are found, in finished and unfinished datasets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset
from tests.manifests.make import finish_dataset, make_plan, write_unit
from tests.manifests.verify.damage import (
    ANEW,
    MANIFEST,
    REJECTS,
    SHARD,
    UNIT,
    Rows,
    edit,
    edit_with_pandas,
    findings,
    flip,
    found_in,
    members,
    nothing,
)

# --- in-context examples ---


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ("stranger", "its in-context example, pair stranger, is not in the dataset"),
        ("itself", "the pair is its own in-context example"),
    ],
)
def test_context(unfinished: Path, context: str, message: str) -> None:
    def change(rows: Rows) -> None:
        rows[0]["contexts"][0]["pair"] = rows[0]["pair"] if context == "itself" else context

    edit(unfinished / MANIFEST, change)
    found_in(unfinished, MANIFEST, "forward generate: ", message)


def test_context_in_another_shard(unfinished: Path) -> None:
    other = pq.read_table(unfinished / "manifest/derain-000002.parquet")["pair"][0].as_py()
    edit(unfinished / MANIFEST, lambda rows: rows[0]["contexts"][0].update(pair=other))
    assert findings(unfinished) == []


def test_context_without_such_an_example(unfinished: Path) -> None:
    """The last pair loses its reverse describe example; the first pair's names it."""
    edit(unfinished / MANIFEST, lambda rows: rows.pop())
    contexts = [message for _, message in findings(unfinished) if "in-context" in message]
    pair = members(unfinished)[-1].name.removesuffix(".json")
    # It loses one row, so only the rows that name it for that direction and kind are wrong.
    assert len(contexts) == 1
    assert f"reverse describe: its in-context example, pair {pair}, has no reverse describe example" in contexts[0]


# --- rejects and plan ---


def test_missing_rejects(root: Path) -> None:
    (root / REJECTS).unlink()
    found_in(root, REJECTS, "is missing", ANEW)


def test_edited_rejects(root: Path) -> None:
    edit(root / REJECTS, lambda rows: rows[0].update(message="fine"))
    found_in(root, REJECTS, "its sha256 is not what the manifest records", ANEW)


def test_rejects_edited_with_pandas(root: Path) -> None:
    edit_with_pandas(root / REJECTS)
    (_, sha256), (file, columns) = findings(root)
    assert "its sha256 is not" in sha256
    assert (file, columns.split(":")[0]) == (REJECTS, "its columns are not ours")


def test_item_that_is_lost(unfinished: Path) -> None:
    """As if a unit had skipped an item without a word: every hash and count is right."""
    edit(unfinished / REJECTS, lambda rows: rows.clear())
    digest = hashlib.sha256((unfinished / REJECTS).read_bytes()).hexdigest()
    edit(unfinished / MANIFEST, nothing, rejects={}, rejects_sha256=digest)
    found_in(unfinished, MANIFEST, "item 'photo.png#9' of the plan is lost")


def test_item_that_is_doubled(unfinished: Path) -> None:
    edit(unfinished / REJECTS, lambda rows: rows.append(rows[0]))
    digest = hashlib.sha256((unfinished / REJECTS).read_bytes()).hexdigest()
    edit(unfinished / MANIFEST, nothing, rejects={"truncated": 2}, rejects_sha256=digest)
    found_in(unfinished, MANIFEST, "item 'photo.png#9' is in its pairs", "2 times, 1 times in the plan")


def test_plan_without_metadata(root: Path) -> None:
    pd.read_parquet(root / "plan.parquet").to_parquet(root / "plan.parquet")
    found_in(root, "plan.parquet", "has lost its metadata", "remove it and run the same command again")
    (root / "plan.parquet").unlink()
    make_plan(Dataset(str(root)))  # the way out
    assert findings(root) == []


def test_plan_that_lost_its_last_unit(unfinished: Path) -> None:
    edit(unfinished / "plan.parquet", lambda rows: rows.__delitem__(slice(10, None)))
    found_in(unfinished, "plan.parquet", "has not the 15 items in 3 units")


def test_plan_edited_after_the_dataset_was_finished(root: Path) -> None:
    edit(root / "plan.parquet", lambda rows: rows[0].update(files=["another.png"]))
    found_in(root, "dataset.json", "plan_sha256")


def test_plan_of_another_item(unfinished: Path) -> None:
    edit(unfinished / "plan.parquet", lambda rows: rows[5].update(ref="another.png"))
    assert [(file, message.split(" is ")[0]) for file, message in findings(unfinished)] == [
        (MANIFEST, "item 'another.png' of the plan"),
        (MANIFEST, "item 'photo.png#5'"),
    ]


# --- dataset.json, and datasets that are not finished ---


def describe(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    description = json.loads((root / "dataset.json").read_text())
    change(description)
    (root / "dataset.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["totals"].update(pairs=13), "totals: pairs is 13, and should be 12"),
        (lambda d: d["totals"].update(shard_bytes=1), "totals: shard_bytes is 1"),
        (lambda d: d.update(fingerprint="0"), "fingerprint: is '0'"),
        (lambda d: d["config"].update(seed=1), "config: seed is 1, and should be 0"),
        (lambda d: d["shards"].pop(), "does not say of derain-000002 what its manifest records"),
        (lambda d: d["shards"][1].update(members=1), f"does not say of {UNIT} what its manifest records"),
        (lambda d: d["shards"].append({"name": "derain-000009"}), "lists derain-000009"),
        (lambda d: d.pop("shards"), "is not what we write"),
    ],
)
def test_description_edited(root: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    describe(root, change)
    found_in(root, "dataset.json", message, "remove it and run the same command again")


def test_description_that_is_not_json(root: Path) -> None:
    (root / "dataset.json").write_text("{")
    found_in(root, "dataset.json", "is not what we write")


def test_finished_dataset_that_lost_a_unit(root: Path) -> None:
    for file in (SHARD, MANIFEST, REJECTS):
        (root / file).unlink()
    found_in(root, "dataset.json", "1 of 3 units are not there any more; run the same command again")


def test_unfinished_dataset(tmp_path: Path) -> None:
    """What is committed is checked, what is to come is not missed, and a half-made unit is named."""
    root = tmp_path / "derain"
    dataset = Dataset(str(root))
    plan = make_plan(dataset)
    assert findings(root) == []
    write_unit(dataset, plan, 1)
    assert findings(root) == []
    (root / "shards/derain-000002.tar").write_bytes(b"")
    found_in(root, "shards/derain-000002.tar", "is of a unit that is not committed")
    (root / "shards/derain-000002.tar").unlink()
    (root / SHARD).unlink()
    found_in(root, SHARD, "is missing")


def test_the_way_out_leads_out(root: Path, sound: Path) -> None:
    """Removing the manifest and writing what is not committed restores every byte."""
    flip(root / SHARD, 700)
    assert ANEW in findings(root)[0][1]
    (root / MANIFEST).unlink()
    dataset = Dataset(str(root))
    plan = make_plan(dataset)
    for unit in sorted(set(range(plan.units)) - dataset.committed()):
        write_unit(dataset, plan, unit)
    finish_dataset(dataset, plan)
    assert findings(root) == []
    for path in sound.rglob("*.*"):
        assert (root / path.relative_to(sound)).read_bytes() == path.read_bytes(), path
