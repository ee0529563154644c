"""Files that were written to exhaust, hang or crash who reads them are findings, and are told of in one line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset, DatasetError
from manifests.read.query import connect, run_sql
from manifests.records import METADATA
from manifests.schema import canonical_json
from manifests.verify.dataset import verify
from manifests.write.tar import header
from tests.manifests.make import make_dataset, make_plan, write_unit
from tests.manifests.verify.damage import MANIFEST, NOT_FINISHED, REJECTS, SHARD, edit, findings, found_in, nothing

Damage = Callable[[Path], object]


def raw_metadata(path: Path, metadata: bytes) -> None:
    """A Parquet file with other bytes in the place of our JSON."""
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({METADATA: metadata}), path)


def equal_rows(path: Path, count: int, **metadata: object) -> None:
    """A Parquet file of so many copies of its first row, by its dictionary a few bytes each million."""
    table = pq.read_table(path)
    first = table.slice(0, 1).combine_chunks()
    values = json.loads(table.schema.metadata[METADATA]) | metadata
    schema = table.schema.with_metadata({METADATA: canonical_json(values).encode()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        block = pa.concat_tables([first] * 10_000).combine_chunks().cast(schema)
        for _ in range(count // 10_000):
            writer.write_table(block)


# --- too much ---


@pytest.mark.parametrize("counts", [{"units": 10**9}, {"units": 10**9, "items": 10**9}, {"units": 0}])
def test_a_plan_of_more_units_than_it_has_rows(root: Path, counts: dict[str, int]) -> None:
    edit(root / "plan.parquet", nothing, **counts)
    found_in(root, "plan.parquet", "has not the", "that it records", "run the same command again to plan anew")
    with pytest.raises(DatasetError, match="has not the"):
        Dataset(str(root)).committed()


def test_a_plan_of_equal_rows(root: Path) -> None:
    """As many rows as it says, in a file of some KB: no items with names of their own have room in it."""
    equal_rows(root / "plan.parquet", 400_000, units=400_000, items=400_000)
    assert (root / "plan.parquet").stat().st_size < 50_000
    found_in(root, "plan.parquet", "has not the 400,000 items")


def test_a_plan_whose_units_are_in_disorder(unfinished: Path) -> None:
    edit(unfinished / "plan.parquet", lambda rows: rows.reverse())
    found_in(unfinished, "plan.parquet", "has not the 15 items in 3 units, in order")


def test_a_manifest_of_equal_rows(unfinished: Path) -> None:
    equal_rows(unfinished / MANIFEST, 100_000, examples={"forward generate": 100_000})
    found_in(unfinished, MANIFEST, "it has 100,000 rows, and can have 20 at most")


def test_rejects_of_equal_rows(unfinished: Path) -> None:
    equal_rows(unfinished / REJECTS, 100_000)
    assert (REJECTS, "it has 100,000 rows, and can have 5 at most") in [
        (file, message.partition(":")[0]) for file, message in findings(unfinished)
    ]


def test_a_text_that_is_as_large_as_memory_when_it_is_repeated(
    unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 rows of 1 MiB that the file has once; for the test, rows that are held may have 8 MiB instead of 256."""
    monkeypatch.setattr("manifests.verify.unit._HELD_BYTES", 2**23)
    edit(unfinished / MANIFEST, lambda rows: [row.update(instruction="x" * 2**20) for row in rows])
    assert (unfinished / MANIFEST).stat().st_size < 2**20
    found_in(unfinished, MANIFEST, "bytes: it was edited")


@pytest.mark.parametrize("column", ["images", "inputs", "steps"])
def test_a_row_with_a_list_of_very_many_entries(unfinished: Path, column: str) -> None:
    """By its dictionary an entry is no byte: a manifest of 19 KB took 3 GB."""

    def lengthen(rows: list[dict[str, Any]]) -> None:
        rows[0][column] = rows[0][column][:1] * 25_000

    edit(unfinished / MANIFEST, lengthen)
    found_in(unfinished, MANIFEST, "25,", "entries in lists of 16 rows")


@pytest.mark.parametrize("file", [SHARD, "candidates/derain-000001.tar"])
def test_a_tar_with_terabytes_of_zeros_behind_it(root: Path, file: str) -> None:
    """They take no room on a disk, and would be read for hours."""
    (root / "candidates").mkdir()
    if file != SHARD:
        shutil.copy(root / SHARD, root / file)
    os.truncate(root / file, 2**43)
    assert any("something follows the end" in message for _, message in findings(root))


def test_a_shard_that_goes_on_for_terabytes(unfinished: Path) -> None:
    """Members of zeros take no room on a disk either. For the test they have 64 KB, and not 8 GB."""
    members = b"".join(header(f"{number}.png", 2**16) + bytes(2**16) for number in range(90))
    (unfinished / SHARD).write_bytes(members)
    found = [message for file, message in findings(unfinished) if file == SHARD]
    assert any("is not what the manifest records: it goes on" in message for message in found)
    assert not any("member 89.png" in message for message in found)


def test_a_manifest_that_is_a_link_to_nothing(root: Path) -> None:
    (root / MANIFEST).unlink()
    (root / MANIFEST).symlink_to(root / "nothing")
    found = dict(findings(root))
    assert "is a link to nothing" in found[MANIFEST]


def test_findings_of_one_file_are_counted_beyond_some(tmp_path: Path) -> None:
    root = tmp_path / "derain"
    make_dataset(str(root), units=1, pairs=40)
    (root / "shards/derain-000000.tar").write_bytes(bytes(10240))  # no member is there
    [*told, (_, last)] = findings(root)
    assert len(told) == 100
    assert last == "20 more findings in it"


# --- no files ---


@pytest.mark.parametrize("file", ["plan.parquet", MANIFEST, REJECTS, SHARD, "README.md", "dataset.json"])
def test_a_pipe_is_no_file(root: Path, file: str) -> None:
    """Who opens one to read waits for a writer that never comes."""
    (root / file).unlink()
    os.mkfifo(root / file)
    found = dict(findings(root))
    assert "is not a regular file" in found[file]
    assert not any("\n" in message for message in found.values())


@pytest.mark.parametrize("file", [MANIFEST, SHARD, "plan.parquet"])
def test_a_link_that_leads_out_is_not_followed(root: Path, tmp_path: Path, file: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(root / file, elsewhere)
    (root / file).symlink_to(elsewhere)
    assert "is a link that leads out" in dict(findings(root))[file]


def test_a_folder_of_datasets_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert [*verify(str(tmp_path / "link"))] == []


# --- other types ---


@pytest.mark.parametrize(
    "metadata",
    [
        b"[" * 100_000,
        b'{"schema_version":1,"config":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b"\xff\xfe",
        b"[]",
        b"1",
        b"{}",
        b'{"schema_version":1}',
        b'{"schema_version":[]}',
        b'{"schema_version":1,"pairs":NaN}',
        b'{"schema_version":1,"pairs":1e999}',
        b'{"schema_version":1,"pairs":' + b"9" * 5_000 + b"}",
    ],
)
@pytest.mark.parametrize("file", ["plan.parquet", MANIFEST])
def test_metadata_that_is_no_record(unfinished: Path, file: str, metadata: bytes) -> None:
    raw_metadata(unfinished / file, metadata)
    found_in(unfinished, file, "run the same command again" if b'n":[]' not in metadata else "schema version")


@pytest.mark.parametrize(
    "entry",
    [
        {"pairs": "4"},
        {"pairs": None},
        {"pairs": True},
        {"pairs": -1},
        {"pairs": 10**30},
        {"shard_bytes": 1.5},
        {"unit": []},
        {"examples": []},
        {"examples": {"forward generate": "4"}},
        {"rejects": {"truncated": {}}},
        {"missing": None},
        {"fingerprint": 5},
        {"shard_sha256": {}},
        {"further": 1},
    ],
)
def test_a_record_of_other_types(unfinished: Path, entry: dict[str, Any]) -> None:
    edit(unfinished / MANIFEST, nothing, **entry)
    found_in(unfinished, MANIFEST, "has other metadata than ours", *entry)
    with pytest.raises(DatasetError, match=f"{MANIFEST} has other metadata"):
        Dataset(str(unfinished)).counts()


@pytest.mark.parametrize(
    "entry",
    [
        {"task": "../derain"},
        {"task": ""},
        {"task": None},
        {"config": []},
        {"config": {"source": "x"}},
        {"config": {"in_context": 5}},
        {"config": {"in_context": [[{}]]}},
        {"config": {"operators": ["x"]}},
        {"units": "3"},
        {"items": None},
    ],
)
def test_a_plan_of_other_types(unfinished: Path, entry: dict[str, Any]) -> None:
    edit(unfinished / "plan.parquet", nothing, **entry)
    found_in(unfinished, "plan.parquet", "has other metadata than ours")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"totals": {', '"totals": [], "was": {'),
        lambda text: text.replace('"shards": [\n', '"shards": [1,\n'),
        lambda text: text.replace('"shards": [\n', '"shards": [{"name": []},\n'),
        lambda text: text.replace('"licences": {', '"licences": {"x": [],'),
        lambda text: text.replace('"config": {', '"config": {"x": NaN,'),
    ],
)
def test_a_description_of_other_types(root: Path, change: Callable[[str], str]) -> None:
    text = (root / "dataset.json").read_text()
    (root / "dataset.json").write_text(change(text))
    assert (root / "dataset.json").read_text() != text
    found_in(root, "dataset.json", "is not what we write")


def test_a_member_without_a_dot(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, lambda rows: [image.update(member="x") for row in rows for image in row["images"]])
    assert (MANIFEST, "member 'x' is not named") in [
        (file, message.partition(": ")[2].partition(" <")[0]) for file, message in findings(unfinished)
    ]


def test_an_input_without_a_name(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows[0].update(inputs=[None]))
    assert any("an input has no name" in message for _, message in findings(unfinished))


def test_a_context_at_a_place_that_is_none(unfinished: Path) -> None:
    edit(unfinished / MANIFEST, lambda rows: rows[0]["contexts"][0].update(dataset="a\0b"))
    found_in(unfinished, MANIFEST, "which is no path from its own folder")


# --- files that are not ours, where ours are ---


@pytest.mark.parametrize(
    "name", ["copy-derain-000001.parquet", "backup-000002.parquet", "derain-2.parquet", "derain-0000002.parquet"]
)
def test_a_copy_of_a_manifest_is_no_commit(tmp_path: Path, name: str) -> None:
    """Two units of three are committed; a copy of one does not make the third."""
    root = tmp_path / "derain"
    dataset = Dataset(str(root))
    plan = make_plan(dataset)
    for unit in (0, 1):
        write_unit(dataset, plan, unit)
    shutil.copy(root / "manifest/derain-000001.parquet", root / "manifest" / name)
    assert dataset.committed() == {0, 1}
    assert len(list(dataset.commits())) == 2
    assert len(list(dataset.pairs())) == 8
    assert run_sql(connect(str(root)), "SELECT count(*) FROM pairs").rows == [(8,)]
    found_in(root, f"manifest/{name}", "does not belong to this dataset; remove it")


# --- what dataset.json vouches for ---


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("README.md", lambda text: text.replace("CC0", "public domain")),
        ("dataset.json", lambda text: text.replace('"pillow": "0"', '"pillow": "1"')),
        ("dataset.json", lambda text: text.replace('"CC0"', '"CC-BY-4.0"')),
        ("dataset.json", lambda text: text.replace("{", '{"further": 1,', 1)),
        ("dataset.json", lambda text: text.replace("{", '{"task": "x",', 1)),
        ("dataset.json", lambda text: text + "\n"),
    ],
)
def test_every_change_is_seen(root: Path, file: str, change: Callable[[str], str]) -> None:
    text = (root / file).read_text()
    (root / file).write_text(change(text))
    assert (root / file).read_text() != text
    found_in(root, file, "it was edited", "run the same command again")


def test_a_byte_changed_anywhere_in_the_descriptions_is_seen(root: Path) -> None:
    for file in ("README.md", "dataset.json"):
        data = (root / file).read_bytes()
        for offset in range(0, len(data), len(data) // 8):
            (root / file).write_bytes(data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :])
            assert findings(root), (file, offset)
        (root / file).write_bytes(data)


@pytest.mark.parametrize("file", ["README.md", "dataset.json"])
def test_a_description_that_is_gone_is_missed(root: Path, file: str) -> None:
    (root / file).unlink()
    [finding] = verify(str(root))
    assert finding.file == f"{root}/{file}"
    assert finding.message.startswith("is missing" if file == "README.md" else NOT_FINISHED)
