"""Every kind of damage is found, in the file that has it, and what is sound is left alone."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.dataset import METADATA, Dataset, DatasetError
from manifests.schema import canonical_json
from manifests.verify import verify
from tests.manifests.make import finish_dataset, make_dataset, make_plan, write_unit

UNIT = "derain-000001"
SHARD, MANIFEST, REJECTS = f"shards/{UNIT}.tar", f"manifest/{UNIT}.parquet", f"rejects/{UNIT}.parquet"
ANEW = f"remove {MANIFEST} and run the same command again to write the unit anew"

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "derain"
    make_dataset(str(root))
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A finished dataset to damage."""
    return Path(shutil.copytree(sound, tmp_path / "derain"))


@pytest.fixture
def unfinished(root: Path) -> Path:
    """All units are committed, and there is no dataset.json whose hashes would find everything."""
    (root / "dataset.json").unlink()
    return root


def findings(root: Path) -> list[tuple[str, str]]:
    """File, relative to the dataset, and message."""
    return [(finding.file.removeprefix(f"{root}/"), finding.message) for finding in verify(str(root))]


def found_in(root: Path, file: str, *parts: str) -> None:
    """Assert that there is exactly one finding, in this file, and that its message has these parts."""
    [(where, message)] = findings(root)
    assert where == file
    for part in parts:
        assert part in message
    assert "\n" not in message


def members(root: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(root / SHARD) as tar:
        return tar.getmembers()


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def edit(path: Path, change: Callable[[Rows], object], **metadata: object) -> None:
    """Change the rows of a Parquet file with pyarrow; our metadata is kept but for the given entries."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    values = json.loads(table.schema.metadata[METADATA]) | metadata
    schema = table.schema.with_metadata({METADATA: canonical_json(values).encode()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def edit_with_pandas(path: Path, **columns: str) -> None:
    frame = pd.read_parquet(path)
    frame["scores"] = frame["scores"].map(dict)  # pandas cannot write a map column as it reads it
    frame.assign(**columns).to_parquet(path)


def nothing(rows: Rows) -> None:
    pass


def test_a_sound_dataset_has_no_findings(root: Path) -> None:
    assert findings(root) == []
    assert list(verify(str(root.parent))) == []  # also through the folder that has all tasks


def test_every_dataset_below_is_checked(root: Path) -> None:
    make_dataset(str(root.parent / "deblur"), task="deblur", units=1)
    (root.parent / "deblur/shards/deblur-000000.tar").unlink()
    (root / SHARD).unlink()
    assert [finding.file for finding in verify(str(root.parent))] == [
        str(root.parent / "deblur/shards/deblur-000000.tar"),
        str(root / SHARD),
    ]


def test_where_there_is_no_dataset_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset at .*plan\.parquet"):
        list(verify(str(tmp_path)))


def test_in_a_bucket() -> None:
    fs = fsspec.filesystem("memory")
    make_dataset("memory://bucket/derain", units=2)
    assert list(verify("memory://bucket")) == []
    fs.rm(f"/bucket/derain/{SHARD}")
    [finding] = verify("memory://bucket")
    assert finding.file == f"memory://bucket/derain/{SHARD}"
    fs.rm("/bucket", recursive=True)


# --- one flipped byte in a tar ---


@pytest.mark.parametrize("number", [3, 4, 5])
def test_flipped_member_data(root: Path, number: int) -> None:
    """Numbers 3 and 4 are images, 5 a pair's JSON."""
    member = members(root)[number]
    flip(root / SHARD, member.offset_data + member.size // 2)
    found_in(root, SHARD, f"member {member.name} is not what the manifest's rows say", ANEW)


@pytest.mark.parametrize("position", [0, 124, 148, 155, 156, 500])
def test_flipped_header(root: Path, position: int) -> None:
    """In its name, size, checksum (its last byte is one that tarfile does not look at), type and unused end."""
    member = members(root)[4]
    flip(root / SHARD, member.offset + position)
    found_in(root, SHARD, f"before the data of member {member.name}", f"at byte {member.offset:,} of")


def test_flipped_header_of_a_json(root: Path) -> None:
    before, member = members(root)[4:6]
    flip(root / SHARD, member.offset)
    found_in(root, SHARD, f"after member {before.name}", f"at byte {member.offset:,} of")


def test_flipped_padding(root: Path) -> None:
    member = members(root)[3]
    assert member.size % 512
    flip(root / SHARD, member.offset_data + member.size)
    found_in(root, SHARD, f"the padding of member {member.name}")


def test_flipped_end(root: Path) -> None:
    flip(root / SHARD, (root / SHARD).stat().st_size - 1)
    found_in(root, SHARD, "something follows the end of the archive")


def test_a_flipped_byte_is_found_anywhere(tmp_path: Path) -> None:
    make_dataset(str(tmp_path / "derain"), units=1, pairs=2)
    shard = tmp_path / "derain/shards/derain-000000.tar"
    data = shard.read_bytes()
    for offset in range(0, len(data), len(data) // 60):
        flip(shard, offset)
        assert [finding.file for finding in verify(str(tmp_path))] == [str(shard)], offset
        shard.write_bytes(data)


# --- shards ---


def test_missing_shard(root: Path) -> None:
    (root / SHARD).unlink()
    found_in(root, SHARD, "is missing", ANEW)


def test_shard_cut_at_a_member_boundary(root: Path) -> None:
    member = members(root)[6]
    data = (root / SHARD).read_bytes()
    (root / SHARD).write_bytes(data[: member.offset])
    assert len(members(root)) == 6  # tarfile reads it without an error
    found_in(
        root,
        SHARD,
        f"it is cut off, at byte {member.offset:,} of {len(data):,}, before the data of member {member.name}",
    )


def test_shard_cut_inside_a_member(root: Path) -> None:
    member = members(root)[6]
    data = (root / SHARD).read_bytes()
    (root / SHARD).write_bytes(data[: member.offset_data + 1])
    found_in(root, SHARD, f"it is cut off inside member {member.name}")


def test_shard_cut_in_its_end(root: Path) -> None:
    (root / SHARD).write_bytes((root / SHARD).read_bytes()[:-512])
    found_in(root, SHARD, "its size, sha256 or number of members")


def rewrite_shard(root: Path, change: Callable[[list[tuple[str, bytes]]], object]) -> None:
    with tarfile.open(root / SHARD) as tar:
        content = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    change(content)
    with tarfile.open(root / SHARD, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in content:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_member_that_no_row_names(root: Path) -> None:
    rewrite_shard(root, lambda content: content.append(("stranger.input.webp", b"?")))
    found_in(root, SHARD, "member stranger.input.webp is named by no row")


def test_member_that_is_there_twice(root: Path) -> None:
    rewrite_shard(root, lambda content: content.append(content[-1]))
    found_in(root, SHARD, f"member {members(root)[-1].name} is there twice")


def test_member_that_is_missing(root: Path) -> None:
    name = members(root)[-1].name
    rewrite_shard(root, lambda content: content.pop())
    found_in(root, SHARD, f"member {name} is missing")


def test_member_that_is_a_link(root: Path) -> None:
    name = members(root)[-1].name
    rewrite_shard(root, lambda content: content.pop())
    with tarfile.open(root / SHARD, "a", format=tarfile.USTAR_FORMAT) as tar:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    found_in(root, SHARD, "a header is damaged, or not one that we write")


# --- files that do not belong ---


@pytest.mark.parametrize(
    "file", ["shards/derain-000003.tar", "manifest/derain-000003.parquet", "rejects/notes.txt", "manifest/.DS_Store"]
)
def test_extra_file(root: Path, file: str) -> None:
    (root / file).write_bytes(b"")
    found_in(root, file, "does not belong to this dataset; remove it")


@pytest.mark.parametrize("folder", ["", "shards/", "manifest/", "rejects/"])
def test_temporary_file(root: Path, folder: str) -> None:
    file = f"{folder}.x.0123.tmp"
    (root / file).write_bytes(b"")
    found_in(root, file, "no reader sees it")
    dataset = Dataset(str(root))
    finish_dataset(dataset, dataset.plan())  # the way out
    assert findings(root) == []


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


def test_row_whose_member_is_not_in_the_shard(unfinished: Path) -> None:
    name = members(unfinished)[0].name
    absent = name.replace(".webp", ".png")
    edit(unfinished / MANIFEST, image_of_first_pair(member=absent))
    assert [(file, message.split(";")[0]) for file, message in findings(unfinished)] == [
        (MANIFEST, f"member {name} is named by no row of the manifest"),
        (MANIFEST, f"member {absent} is missing"),
    ]


@pytest.mark.parametrize(
    "member", ["../../etc/passwd", "a/{pair}.input.webp", "{pair}.target.webp", "{pair}.input", "{pair}.input./webp"]
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
        assert {where for where, _ in findings(root)} == {file}
        (root / file).write_bytes(data)


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
        rows[0]["context_pair"] = rows[0]["pair"] if context == "itself" else context

    edit(unfinished / MANIFEST, change)
    found_in(unfinished, MANIFEST, "forward generate: ", message)


def test_context_in_another_shard(unfinished: Path) -> None:
    other = pq.read_table(unfinished / "manifest/derain-000002.parquet")["pair"][0].as_py()
    edit(unfinished / MANIFEST, lambda rows: rows[0].update(context_pair=other))
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
