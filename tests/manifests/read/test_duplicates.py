from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infra.command import main
from manifests.dataset import Dataset, plan_table
from manifests.images.pixels import Pixels, encode_lossless, stored
from manifests.read.duplicates import find_duplicates
from manifests.read.query import connect, select
from manifests.schema import Example, Image, Item, Pair
from manifests.write.writer import UnitWriter
from tests.sources import encode, photo


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two datasets: photo 0 in each, photo 1 twice in one, black inputs everywhere but in the last pair."""
    black = np.zeros((280, 270, 3), np.uint8)
    _write(tmp_path / "derain", [[("a", black, _jpeg(0)), ("b", black, _jpeg(1))], [("c", black, _jpeg(1, 60))]])
    _write(tmp_path / "retouch", [[("d", black, _jpeg(0, 50)), ("e", _photo(2) // 2, stored("target", _png(2)))]])
    return tmp_path


def test_groups_name_task_pair_role_and_shard(out: Path) -> None:
    found = find_duplicates(str(out), 4)
    names = [[(image.task, image.pair, image.role, image.shard) for image in group] for group in found.groups]
    assert names == [
        [("derain", _key("a"), "target", "derain-000000.tar"), ("retouch", _key("d"), "target", "retouch-000000.tar")],
        [("derain", _key("b"), "target", "derain-000000.tar"), ("derain", _key("c"), "target", "derain-000001.tar")],
    ]


def test_masks_are_not_compared(tmp_path: Path) -> None:
    mask = np.zeros_like(_photo(0))
    mask[40:120, 60:160] = 255
    _write(tmp_path / "derain", [[("a", mask, _jpeg(0)), ("b", mask, _jpeg(1))]])
    assert [image.role for group in find_duplicates(str(tmp_path), 4).groups for image in group] == ["input"] * 2
    _write(tmp_path / "retouch", [[("c", mask, _jpeg(2)), ("d", mask, _jpeg(3))]], role="mask")
    assert {image.task for group in find_duplicates(str(tmp_path), 4).groups for image in group} == {"derain"}


def test_flat_images_are_counted_and_the_images_of_one_pair_are_no_group(out: Path) -> None:
    found = find_duplicates(str(out), 8)
    assert (found.images, found.without_hash, len(found.groups)) == (10, 4, 2)


def test_one_dataset_alone(out: Path) -> None:
    assert find_duplicates(f"{out}/retouch", 8).groups == []


def test_the_hash_is_a_column_in_sql(out: Path) -> None:
    query = "SELECT i.phash FROM (SELECT unnest(images) AS i FROM pairs WHERE task = 'retouch') ORDER BY ALL NULLS LAST"
    digits = [row["phash"] for row in select(connect(str(out)), query)]
    assert digits[-1] is None and all(len(text) == 16 for text in digits[:-1])


def test_the_command(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dups", str(out), "--distance", "2"]) == 0
    heading, *rows, total = capsys.readouterr().out.splitlines()
    assert heading.split() == ["group", "task", "pair", "role", "shard", "phash"]
    assert [row.split()[:2] for row in rows] == [["1", "derain"], ["1", "retouch"], ["2", "derain"], ["2", "derain"]]
    assert total == "10 images: 2 groups of near-duplicates with 4 images; 4 flat or unreadable, not compared"
    assert main(["dups", f"{out}/nothing"]) == 2
    assert main(["dups", str(out), "--distance", "9"]) == 2


def _write(root: Path, units: list[list[tuple[str, Pixels, Image]]], role: str = "input") -> None:
    """A dataset with a unit for each list of (name, input, target)."""
    dataset = Dataset(str(root))
    items = [[Item(ref=name, files=(name,)) for name, _, _ in unit] for unit in units]
    plan = dataset.write_plan(root.name, {}, "f" * 64, plan_table(items))
    for number, unit in enumerate(units):
        suffixes = {"input": "png", "target": "jpg"}
        with UnitWriter.open(dataset, plan, number, prototype_task="low-level", suffixes=suffixes) as writer:
            for name, before, target in unit:
                writer.add(_pair(name, encode_lossless(role, before), target))
        writer.commit({}, 0, {})


def _pair(name: str, before: Image, target: Image) -> Pair:
    forward = Example(direction="forward", kind="generate", inputs=("input",), output="target", instruction="")
    reverse = Example(direction="reverse", kind="generate", inputs=("target",), output="input", instruction="")
    return Pair(
        key=_key(name),
        source="test",
        source_ref=name,
        licence="CC0-1.0",
        images=(before, target),
        group=name,
        examples=(forward, reverse),
    )


def _key(name: str) -> str:
    return name * 32


def _photo(index: int) -> Pixels:
    return photo(index, 280, 270)


def _png(index: int) -> bytes:
    return encode(_photo(index))


def _jpeg(index: int, quality: int = 90) -> Image:
    return stored("target", encode(_photo(index), "JPEG", quality=quality))
