"""Edited and damaged manifests are found, in the file that has the damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from tests.manifests.make import finish_dataset, make_plan, write_unit
from tests.manifests.verify.damage import (
    ANEW,
    MANIFEST,
    REJECTS,
    SHARD,
    Rows,
    edit,
    edit_with_pandas,
    findings,
    flip,
    found_in,
    members,
    nothing,
)

# --- manifests ---


def test_manifest_edited_with_pandas(root: Path) -> None:
    edit_with_pandas(root / MANIFEST, licence="public domain")
    found_in(root, MANIFEST, "has lost its metadata", "remove it and run the same command again")


def test_manifest_edited_with_pandas_before_the_dataset_is_finished(unfinished: Path) -> None:
    edit_with_pandas(unfinished / MANIFEST)
    found_in(unfinished, MANIFEST, "has lost its metadata", "remove it and run the same command again")


def test_manifest_with_other_columns(unfinished: Path) -> None:
    table = pq.read_table(unfinished / MANIFEST)
    pq.write_table(table.drop_columns(["licence"]), unfinished / MANIFEST)
    found_in(unfinished, MANIFEST, "its columns are not ours", ANEW)


def test_manifest_edited_where_only_its_hash_can_tell(root: Path) -> None:
    edit(root / MANIFEST, lambda rows: rows[0].update(source_group="another"))
    found_in(root, MANIFEST, "sha256 is not the one in dataset.json")


@pytest.mark.parametrize(
    ("column", "value"), [("instruction", "Do nothing."), ("text", "Nothing."), ("output", "input")]
)
def test_row_edited(unfinished: Path, column: str, value: str) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows[0].update({column: value}))
    found_in(unfinished, MANIFEST, f"member {members(unfinished)[2].name} is not what the manifest's rows say", ANEW)


@pytest.mark.parametrize("column", ["licence", "source", "source_ref"])
def test_column_edited_in_all_rows(unfinished: Path, column: str) -> None:
    def change(rows: Rows) -> None:
        for row in rows:
            row[column] += "!"

    edit(unfinished / MANIFEST, change)
    changed = [message for file, message in findings(unfinished) if "not what the manifest's rows say" in message]
    assert len(changed) == 4  # one a pair


def image_of_first_pair(**values: Any) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in rows[:4]:
            row["images"][0].update(values)

    return change


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sha256": "0" * 64}, "is not what the manifest's rows say"),
        ({"bytes": 7}, "is not what the manifest's rows say"),
        ({"offset": 1024}, "is at byte 512, its row says 1024"),
    ],
)
def test_image_edited(unfinished: Path, values: dict[str, Any], message: str) -> None:
    edit(unfinished / MANIFEST, image_of_first_pair(**values))
    found_in(unfinished, MANIFEST, f"member {members(unfinished)[0].name} {message}")


def test_mask_of_another_size_than_its_input(unfinished: Path) -> None:
    def change(rows: Rows) -> None:
        for row in rows[:4]:
            row["images"].append({**row["images"][0], "role": "mask", "width_px": 63})

    edit(unfinished / MANIFEST, change)
    messages = [
        message for _, message in findings(unfinished) if "its mask has 63 x 48 px, its input 64 x 48" in message
    ]
    assert len(messages) == 4


def test_row_whose_member_is_not_in_the_shard(unfinished: Path) -> None:
    name = members(unfinished)[0].name
    absent = name.replace(".png", ".webp")
    edit(unfinished / MANIFEST, image_of_first_pair(member=absent))
    assert [(file, message.split(";")[0]) for file, message in findings(unfinished)] == [
        (MANIFEST, f"member {name} is named by no row of the manifest"),
        (MANIFEST, f"member {absent} is missing"),
    ]


@pytest.mark.parametrize(
    "member", ["../../etc/passwd", "a/{pair}.input.png", "{pair}.target.png", "{pair}.input", "{pair}.input./webp"]
)
def test_member_name_that_is_not_the_pairs(unfinished: Path, member: str) -> None:
    pair = members(unfinished)[0].name.split(".")[0]
    edit(unfinished / MANIFEST, image_of_first_pair(member=member.format(pair=pair)))
    messages = [message for _, message in findings(unfinished) if "is not named <pair>.<role>.<ending>" in message]
    assert len(messages) == 4


def test_rows_of_a_pair_that_disagree(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows[1].update(licence="public domain"))
    found_in(unfinished, MANIFEST, "are not those of the pair's first row")


def test_role_that_the_pair_does_not_have(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows[0].update(output="mask"))
    assert "the pair has no image mask" in findings(unfinished)[0][1]


@pytest.mark.parametrize("column", ["task", "shard"])
def test_row_of_another_dataset(unfinished: Path, column: str) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows[5].update({column: "other"}))
    assert (MANIFEST, True) in [(file, "is of task" in message) for file, message in findings(unfinished)]


def test_lost_row(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows.pop())
    messages = [message for _, message in findings(unfinished)]
    assert any(message.startswith("records 4 pairs") for message in messages)
    sample = f"member {members(unfinished)[-1].name} is not what the manifest's rows say"
    assert any(message.startswith(sample) for message in messages)


def test_doubled_row(unfinished: Path) -> None:
    pair = members(unfinished)[-1].name.removesuffix(".json")
    edit(unfinished / MANIFEST, lambda rows: rows.append(rows[-1]))
    file, message = findings(unfinished)[0]
    assert (file, message.split(":")[0]) == (MANIFEST, f"pair {pair} is in the dataset more than once")


def test_pair_key_in_two_shards(root: Path) -> None:
    """The same unit under two names, all hashes and counts right: only the keys tell."""
    dataset = Dataset(str(root.parent / "twice"))
    plan = make_plan(dataset, units=2)
    items = pq.read_table(root.parent / "twice/plan.parquet").to_pylist()
    edit(
        root.parent / "twice/plan.parquet",
        lambda rows: [row.update(ref=items[i % 5]["ref"], index=i % 5) for i, row in enumerate(rows)],
    )
    fresh = Dataset(str(shutil.copytree(root.parent / "twice", root.parent / "again")))  # its plan is not in a cache
    for unit in range(2):
        write_unit(fresh, plan, unit)
    finish_dataset(fresh, plan)
    messages = [(finding.file, finding.message) for finding in verify(fresh.url)]
    assert [file for file, _ in messages] == [f"{fresh.url}/{MANIFEST}"] * 4
    assert all("is in the dataset more than once" in message for _, message in messages)


def test_fingerprint_of_another_plan(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, nothing, fingerprint="0" * 64)
    found_in(unfinished, MANIFEST, f"is of another plan: fingerprint {'0' * 64}", "f" * 64, ANEW)


def test_manifest_under_another_name(root: Path) -> None:
    shutil.copy(root / "manifest/derain-000000.parquet", root / MANIFEST)
    assert findings(root)[-2:][0][0] == MANIFEST
    assert any(f == MANIFEST and "is the manifest of unit 0 under another name" in m for f, m in findings(root))


@pytest.mark.parametrize(
    ("entry", "file", "message"),
    [
        ({"pairs": 5}, MANIFEST, "records 5 pairs"),
        ({"examples": {}}, MANIFEST, "its rows have 4"),
        ({"rejects": {"blurred": 1}}, MANIFEST, "records the rejects {'blurred': 1}"),
        ({"rejects_sha256": "0" * 64}, REJECTS, "its sha256 is not what the manifest records"),
        ({"shard_sha256": "0" * 64}, SHARD, "its size, sha256 or number of members"),
        ({"shard_bytes": 7}, SHARD, "its size, sha256 or number of members"),
        ({"members": 7}, SHARD, "its size, sha256 or number of members"),
    ],
)
def test_record_edited(unfinished: Path, entry: dict[str, Any], file: str, message: str) -> None:
    edit(unfinished / MANIFEST, nothing, **entry)
    found_in(unfinished, file, message, ANEW)


def test_damaged_page_of_a_column_that_nothing_else_tells_of(unfinished: Path) -> None:
    group = pq.ParquetFile(unfinished / MANIFEST).metadata.row_group(0)
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    flip(unfinished / MANIFEST, columns["source_group"].data_page_offset - 1)  # the end of its dictionary page
    found_in(unfinished, MANIFEST, "it is damaged", ANEW)


@pytest.mark.parametrize("offset", [-1, -8])
def test_damaged_footer(unfinished: Path, offset: int) -> None:
    flip(unfinished / MANIFEST, (unfinished / MANIFEST).stat().st_size + offset)
    found_in(unfinished, MANIFEST, "is damaged", "remove it and run the same command again")


@pytest.mark.parametrize("file", [MANIFEST, REJECTS])
def test_a_flipped_byte_in_a_finished_datasets_tables(root: Path, file: str) -> None:
    data = (root / file).read_bytes()
    for offset in range(0, len(data), len(data) // 20):
        flip(root / file, offset)
        found = {where for where, _ in findings(root)}
        assert {file} <= found <= {file, MANIFEST}  # which records what damaged rejects may not have any more
        (root / file).write_bytes(data)
