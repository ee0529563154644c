"""Damage to tars, and files that are missing or do not belong, are found; what is sound is left alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from manifests.dataset import Dataset, DatasetError
from manifests.verify.dataset import verify
from tests.manifests.make import finish_dataset, make_dataset
from tests.manifests.verify.damage import ANEW, SHARD, findings, flip, found_in, members


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
    rewrite_shard(root, lambda content: content.append(("stranger.input.png", b"?")))
    found_in(root, SHARD, "member stranger.input.png is named by no row")


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
