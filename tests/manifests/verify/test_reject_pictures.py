"""What is wrong with pictures of rejects is found, and nothing is said of a dataset without them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.dataset import Dataset
from manifests.verify.reject_pictures import picture_problems
from manifests.write.tar import TarWriter
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import ANEW, REJECTS, UNIT, Rows, edit, findings, flip, found_in

FILE = f"reject_pictures/{UNIT}.tar"
Members = list[tuple[str, bytes]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_dataset(str(tmp_path / "derain"), pictures=True)
    return tmp_path / "derain"


def members(root: Path) -> Members:
    with tarfile.open(root / FILE) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]


def rewrite(root: Path, change: Callable[[Members], Members]) -> None:
    """Write the tar again with other members, as our writer does."""
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    for name, data in change(members(root)):
        writer.append(name, data)
    writer.finish()
    (root / FILE).write_bytes(buffer.getvalue())


def test_sound_ones_have_no_findings(root: Path) -> None:
    assert [name for name, _ in members(root)] == ["000000.input.webp", "000000.output.webp"]
    assert findings(root) == []
    rewrite(root, lambda members: members)
    assert findings(root) == []


def test_flipped_bytes_are_found(root: Path) -> None:
    dataset = Dataset(str(root))
    sound, plan = (root / FILE).read_bytes(), dataset.plan()
    for offset in range(0, len(sound), len(sound) // 40):
        flip(root / FILE, offset)
        assert {file for file, _ in picture_problems(dataset, plan, dataset.committed())} == {FILE}, offset
        (root / FILE).write_bytes(sound)


def test_what_is_missing_or_too_much_is_found(root: Path, tmp_path: Path) -> None:
    (root / FILE).rename(tmp_path / "away.tar")
    found_in(root, FILE, "is missing", "names 2 pictures in it", ANEW)
    (tmp_path / "away.tar").rename(root / FILE)
    rewrite(root, lambda members: members[:1])
    found_in(root, FILE, "picture 000000.output.webp is missing", ANEW)
    rewrite(root, lambda members: [*members, ("000000.output.webp", b"twice")])
    assert any(file == FILE for file, _ in findings(root))
    (root / "reject_pictures/other.tar").write_bytes(b"")
    assert ("reject_pictures/other.tar", "does not belong to this dataset; remove it") in findings(root)


def test_a_tar_that_no_reject_names_is_found(root: Path) -> None:
    made = (root / FILE).read_bytes()
    make_dataset(str(root.parent / "bare/derain"))
    bare = root.parent / "bare/derain"
    (bare / "reject_pictures").mkdir()
    (bare / FILE).write_bytes(made)
    found_in(bare, FILE, "no reject names its member 000000.input.webp", ANEW)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bytes": 16_001}, "has 16,001 bytes, and can have 16,000 at most"),
        ({"bytes": -1}, "has -1 bytes"),
        ({"width_px": 100_000}, "has 100000 x 48 px, and can have 256 at most"),
        ({"height_px": 0}, "has 64 x 0 px"),
        ({"width_px": 65}, "picture 000000.input.webp is ('webp', 64, 48), and should be ('webp', 65, 48)"),
        ({"side": "mask"}, "names a picture '000000.input.webp' of side 'mask'"),
        ({"member": "../../x"}, "names a picture '../../x'"),
        ({"offset": 2**62}, "is not the one that the rejects name"),
        ({"sha256": "0" * 64}, "is not the one that the rejects name"),
    ],
)
def test_a_row_that_says_what_cannot_be(root: Path, change: dict[str, object], said: str) -> None:
    def apply(rows: Rows) -> None:
        rows[0]["pictures"][0].update(change)

    edit(root / REJECTS, apply)
    assert any(said in message for _, message in findings(root)), findings(root)


def test_a_row_of_another_shard(root: Path) -> None:
    edit(root / REJECTS, lambda rows: rows[0].update(shard="../../etc/passwd"))
    assert any("is of shard '../../etc/passwd'" in message for _, message in findings(root))
