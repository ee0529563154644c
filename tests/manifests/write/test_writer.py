"""A unit's bytes depend on the plan alone, and its manifest's appearance is the commit."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset
from manifests.images.pixels import decode_rgb
from manifests.schema import Item, Reject
from manifests.verify.dataset import verify
from manifests.write.writer import UnitWriter
from tests.manifests.make import (
    SUFFIXES,
    finish_dataset,
    make_dataset,
    make_pair,
    make_plan,
    photo,
    write_unit,
)

ROOT = Path(__file__).parents[3]
NAME = "derain-000000"
ITEM = Item(ref="photo.png#0", files=("photo.png",))


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    """Written twice, in another order, in another folder: every file is the same."""
    make_dataset(str(tmp_path / "a"))
    dataset = Dataset(str(tmp_path / "b"))
    plan = make_plan(dataset)
    for unit in (2, 0, 1):
        write_unit(dataset, plan, unit)
    finish_dataset(dataset, plan)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert len(content(tmp_path / "a")) == 3 * 3 + 3


def test_a_text_without_bytes_is_a_reject_and_leaves_nothing_in_the_shard(tmp_path: Path) -> None:
    """Half of a surrogate pair: JSON may hold it, UTF-8 may not. In an instruction, and in what a step records."""
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, units=1, pairs=2)
    good, first, second = (make_pair("derain", item) for item in dataset.unit(plan, 0).items)
    spoilt = replace(first, examples=(replace(first.examples[0], instruction="a \ud83d b"),))
    noted = replace(second, steps=(replace(second.steps[0], params={"said": "\ud83d"}),))
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        for pair in (spoilt, noted):
            with pytest.raises(Reject, match=r"a text holds half of a surrogate pair: '.*\\ud83d.*'") as error:
                writer.add(pair)
            assert error.value.reason == "unencodable"
            writer.reject(ITEM, "test", "store", Reject("unencodable", "raw: \ud83d"))
        writer.add(good)
    writer.commit({}, 0, {})
    with tarfile.open(tmp_path / f"shards/{NAME}.tar") as tar:
        assert {name.partition(".")[0] for name in tar.getnames()} == {good.key}
    messages = pq.read_table(tmp_path / f"rejects/{NAME}.parquet")["message"].to_pylist()
    assert messages == ["raw: \\ud83d"] * 2


def test_a_retry_of_a_committed_unit_changes_nothing(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path))
    before = content(tmp_path)
    write_unit(dataset, dataset.plan(), 1)
    assert content(tmp_path) == before


def test_headers_do_not_depend_on_when_or_who(tmp_path: Path) -> None:
    make_dataset(str(tmp_path), units=1)
    with tarfile.open(tmp_path / f"shards/{NAME}.tar") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert (member.mode, member.type, member.pax_headers) == (0o644, tarfile.REGTYPE, {})


def test_offsets_point_at_the_members(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path), units=2)
    images = 0
    for name in (NAME, "derain-000001"):
        with tarfile.open(tmp_path / f"shards/{name}.tar") as tar:
            offsets = {member.name: member.offset_data for member in tar}
        for row in pq.read_table(tmp_path / f"manifest/{name}.parquet").to_pylist():
            index = int(row["source_ref"].split("#")[1])
            for image in row["images"]:
                images += 1
                assert image["offset"] == offsets[image["member"]]
                data = dataset.store.read(f"shards/{row['shard']}", image["offset"], image["bytes"])
                assert hashlib.sha256(data).hexdigest() == image["sha256"]
                expected = photo(index) if image["role"] == "target" else photo(index) // 2
                assert (decode_rgb(data) == expected).all()
    assert images == 2 * 4 * 4 * 2  # units, pairs, rows, images


def test_samples_as_webdataset_groups_them(tmp_path: Path) -> None:
    """Names are <pair>.<field>, the pair without a dot, a pair's members next to each other and its JSON last."""
    make_dataset(str(tmp_path), units=1)
    with tarfile.open(tmp_path / f"shards/{NAME}.tar") as tar:
        names = [member.name.split(".", 1) for member in tar]
    keys = list(dict.fromkeys(key for key, _ in names))
    assert names == [[key, field] for key in keys for field in ("input.png", "target.png", "json")]
    assert len(keys) == 4


def test_the_json_beside_the_images(tmp_path: Path) -> None:
    make_dataset(str(tmp_path), units=1, pairs=2)
    with tarfile.open(tmp_path / f"shards/{NAME}.tar") as tar:
        file = tar.extractfile(tar.getmembers()[2])
        assert file
        sample = json.load(file)
    assert sample["source_ref"] == "photo.png#0"
    assert sample["examples"][0] == {
        "direction": "forward",
        "kind": "generate",
        "inputs": ["input"],
        "output": "target",
        "instruction": "Take away the rain — vollständig.",
        "text": "",
    }
    assert [(example["output"], example["text"]) for example in sample["examples"]][2:] == [
        ("", "The rain is gone."),
        ("", "It rains now."),
    ]


def test_a_commit_records_what_was_written(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path), units=1)
    commit = dataset.commit(NAME)
    shard = (tmp_path / f"shards/{NAME}.tar").read_bytes()
    assert (commit.shard_bytes, commit.shard_sha256) == (len(shard), hashlib.sha256(shard).hexdigest())
    assert (commit.unit, commit.pairs, commit.members) == (0, 4, 12)
    assert commit.examples == {f"{d} {k}": 4 for d in ("forward", "reverse") for k in ("generate", "describe")}
    assert commit.rejects == {"truncated": 1}
    [row] = pq.read_table(tmp_path / f"rejects/{NAME}.parquet").to_pylist()
    assert (row["source_ref"], row["files"], row["operator"]) == ("photo.png#4", ["photo.png"], "read")
    assert row["scores"] == [("psnr", 1.0)]


def test_an_example_without_context_is_counted(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, units=1)
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
        writer.add(make_pair("derain", ITEM))
    commit = writer.commit({}, 4, {"forward edit (a model)": 1})
    assert (commit.without_context, commit.missing) == (4, {"forward edit (a model)": 1})
    assert dataset.commit(NAME) == commit


def test_a_unit_whose_items_are_all_rejected_is_a_unit(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, units=1, pairs=0)
    write_unit(dataset, plan, 0)
    finish_dataset(dataset, plan)
    assert dataset.commit(NAME).pairs == 0
    assert list(verify(str(tmp_path))) == []


def test_a_pair_without_examples_is_our_own_mistake(tmp_path: Path) -> None:
    """It would be in the shard with no row that names it."""
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, units=1)
    pair = replace(make_pair("derain", ITEM), examples=())
    with (
        pytest.raises(AssertionError, match="has no example"),
        UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer,
    ):
        writer.add(pair)


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, units=1)

    def fail() -> None:
        with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes=SUFFIXES) as writer:
            writer.add(make_pair("derain", ITEM))
            writer.reject(ITEM, "photos", "read", Reject("empty", "the file has no bytes"))
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        fail()
    assert set(content(tmp_path)) == {"plan.parquet"}


KILLED = """
import os, signal, sys
from manifests.dataset import Dataset
from tests.manifests.make import write_unit

root, before = sys.argv[1:]
dataset = Dataset(root)
rename = os.rename

def rename_or_die(temporary, final):
    if str(final).endswith(before):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(temporary, final)

os.rename = rename_or_die
write_unit(dataset, dataset.plan(), 0)
"""


@pytest.mark.parametrize(
    ("before", "there"),
    [
        (f"shards/{NAME}.tar", []),
        (f"rejects/{NAME}.parquet", [f"shards/{NAME}.tar"]),
        (f"manifest/{NAME}.parquet", [f"rejects/{NAME}.parquet", f"shards/{NAME}.tar"]),
    ],
)
def test_a_killed_writer_leaves_the_unit_uncommitted(tmp_path: Path, before: str, there: list[str]) -> None:
    """Tar, rejects, manifest, each whole or absent; the next attempt writes what an undisturbed one does."""
    make_dataset(str(tmp_path / "undisturbed"), units=1)
    undisturbed, root = content(tmp_path / "undisturbed"), tmp_path / "killed"
    dataset = Dataset(str(root))
    plan = make_plan(dataset, units=1)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(root), before], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert dataset.committed() == set()
    left = content(root)
    whole = sorted(name for name in left if not name.endswith(".tmp"))
    assert whole == ["plan.parquet", *there]
    assert len(left) == len(whole) + 1  # and one temporary file, which no listing shows
    assert all(left[name] == undisturbed[name] for name in whole)
    write_unit(dataset, plan, 0)
    finish_dataset(dataset, plan)
    assert content(root) == undisturbed


def test_a_truncated_image_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path / "derain"))
    plan = make_plan(dataset, units=1, pairs=2)
    first, second, _ = dataset.unit(plan, 0).items
    whole, cut = make_pair("derain", first), make_pair("derain", second)
    target = cut.images[1]
    cut = replace(cut, images=(cut.images[0], replace(target, data=target.data[: len(target.data) // 2])))
    with UnitWriter.open(dataset, plan, 0, prototype_task="low-level", suffixes={}) as writer:
        with pytest.raises(Reject, match=r"^target: it") as raised:
            writer.add(cut)
        assert raised.value.reason == "truncated"
        writer.add(whole)
    with tarfile.open(tmp_path / "derain/shards/derain-000000.tar") as tar:
        assert {name.split(".")[0] for name in tar.getnames()} == {whole.key}
