"""What is wrong with stored candidates is found, and nothing is said of a dataset without them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manifests.write.tar import TarWriter
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import findings, found_in

FILE = "candidates/derain-000001.tar"
ANEW = "remove it, or to write it anew remove manifest/derain-000001.parquet and run the same command again"
Members = list[tuple[str, bytes]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_dataset(str(tmp_path / "derain"), candidates=True)
    return tmp_path / "derain"


def rewrite(root: Path, change: Callable[[Members], Members]) -> None:
    """Write the tar again with other members, as our writer does."""
    with tarfile.open(root / FILE) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    for name, data in change(members):
        writer.append(name, data)
    writer.finish()
    (root / FILE).write_bytes(buffer.getvalue())


def changed(data: bytes, **values: Any) -> bytes:
    record = json.loads(data) | values
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_sound_ones_have_no_findings(root: Path) -> None:
    assert findings(root) == []
    rewrite(root, lambda members: members)
    assert findings(root) == []


def test_a_unit_may_have_none(root: Path) -> None:
    (root / FILE).unlink()
    assert findings(root) == []


def test_every_flipped_byte_is_found(root: Path) -> None:
    path = root / FILE
    sound = path.read_bytes()
    with tarfile.open(path) as tar:
        picture, about = tar.getmembers()[2:4]
    for place in (
        *(picture.offset, picture.offset + 124, picture.offset + 500),
        *(picture.offset_data, picture.offset_data + picture.size // 2, picture.offset_data + picture.size - 1),
        *range(about.offset_data, about.offset_data + about.size, 37),
        len(sound) - 1,
    ):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        found_in(root, FILE, ANEW)


def test_a_cut_or_empty_tar_is_found(root: Path) -> None:
    path = root / FILE
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2])
    found_in(root, FILE, "it is cut off", ANEW)
    path.write_bytes(b"")
    found_in(root, FILE, "it is cut off")
    rewrite_to_nothing = io.BytesIO()
    TarWriter(rewrite_to_nothing).finish()
    path.write_bytes(rewrite_to_nothing.getvalue())
    found_in(root, FILE, "not a picture and a JSON for each candidate")


def test_a_candidate_that_is_missing_between_others_is_found(root: Path) -> None:
    rewrite(root, lambda members: members[:2] + members[4:])
    found_in(root, FILE, ".2.png", "are not those of candidate", ".1")


def test_a_member_without_its_other_half_is_found(root: Path) -> None:
    rewrite(root, lambda members: members[:-1])
    found_in(root, FILE, "not a picture and a JSON for each candidate")


def test_a_json_that_was_edited_is_found(root: Path) -> None:
    rewrite(root, lambda members: [members[0], (members[1][0], changed(members[1][1], seed=5)), *members[2:]])
    found_in(root, FILE, ".0 is not what its JSON says: one of them was changed")
    rewrite(root, lambda members: [members[0], (members[1][0], b"[1]"), *members[2:]])
    found_in(root, FILE, ".0 is not what its JSON says")


def test_pictures_that_were_swapped_are_found(root: Path) -> None:
    def swap(members: Members) -> Members:
        (first, one), said, (second, other), *rest = members
        return [(first, other), said, (second, one), *rest]

    rewrite(root, swap)
    assert [file for file, _ in findings(root)] == [FILE] * 2


def test_the_candidates_of_another_unit_are_found(root: Path) -> None:
    (root / FILE).write_bytes((root / "candidates/derain-000002.tar").read_bytes())
    found = findings(root)
    assert [file for file, _ in found] == [FILE] * 5
    assert all("is neither in the unit's manifest nor among its rejects" in message for _, message in found)


def test_a_pair_without_its_winner_is_found(root: Path) -> None:
    rewrite(root, lambda members: members[:2] + members[6:])
    found_in(root, FILE, "0 candidates of pair", "won: one is to")


@pytest.mark.parametrize("name", ["derain-000007.tar", "notes.txt"])
def test_what_does_not_belong_is_found(name: str, root: Path) -> None:
    (root / "candidates" / name).write_bytes(b"")
    found_in(root, f"candidates/{name}", "does not belong to this dataset; remove it")


def test_those_of_a_unit_that_is_not_committed_are_told(root: Path) -> None:
    (root / "dataset.json").unlink()
    for folder, ending in (("shards", "tar"), ("rejects", "parquet"), ("manifest", "parquet")):
        (root / f"{folder}/derain-000001.{ending}").unlink()
    found_in(root, FILE, "is of a unit that is not committed")
