"""The plan, the ledger of committed units, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset, DatasetError, find_datasets, plan_table
from manifests.schema import Item
from manifests.write.finish import finish
from tests.manifests.make import LICENCE, SOURCE, VERSIONS, finish_dataset, make_dataset, make_plan, write_unit

CONFIG = {"seed": 0, "task": "derain"}


def cut(sizes: list[int]) -> Iterator[list[Item]]:
    """Units of these sizes; every item differs from every other in all its fields."""
    start = 0
    for size in sizes:
        yield [
            Item(ref=f"a/{index}.png", files=(f"a/{index}.png", f"b/{index}.png"), index=index, bytes=3 * index)
            for index in range(start, start + size)
        ]
        start += size


@pytest.mark.parametrize(
    "sizes",
    [
        [3, 2, 2],
        [1_000] * 40,
        [16_384, 5, 16_384],  # units that are just a row group
        [16_383, 2, 16_383, 5],
        [20_000, 1, 17_000],  # units larger than a row group
    ],
)
def test_a_unit_is_exactly_its_slice_of_the_plan(tmp_path: Path, sizes: list[int]) -> None:
    units = list(cut(sizes))
    dataset = Dataset(str(tmp_path))
    plan = dataset.write_plan("derain", CONFIG, "f" * 64, plan_table(units))
    assert (plan.units, plan.items) == (len(sizes), sum(sizes))
    for number in {0, len(sizes) // 2, len(sizes) - 1}:
        unit = dataset.unit(plan, number)
        assert unit.name == f"derain-{number:06d}"
        assert list(unit.items) == units[number]


def test_reading_a_unit_reads_one_row_group(tmp_path: Path) -> None:
    """A unit is never spread over two, so that a plan of millions is not read for each shard."""
    Dataset(str(tmp_path)).write_plan("derain", CONFIG, "f" * 64, plan_table(cut([1_000] * 40)))
    file = pq.ParquetFile(tmp_path / "plan.parquet")
    groups = [set(file.read_row_group(group)["unit"].to_pylist()) for group in range(file.num_row_groups)]
    assert [len(units) for units in groups] == [17, 17, 6]
    assert set.union(*groups) == set(range(40))


def test_names_in_any_script(tmp_path: Path) -> None:
    items = [
        Item(ref=name, files=(name, ""), bytes=1) for name in ("été.png", "日本/語.png", "a b'\"\\\n.png", "🌧.png")
    ]
    dataset = Dataset(str(tmp_path))
    plan = dataset.write_plan("derain", {"root": "été"}, "f" * 64, plan_table([items]))
    assert list(dataset.unit(plan, 0).items) == items
    assert dataset.plan().config == {"root": "été"}


def test_a_plan_is_taken_up_again(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    first = make_plan(dataset)
    before = (tmp_path / "plan.parquet").read_bytes()
    assert make_plan(dataset) == first == dataset.plan()
    assert (tmp_path / "plan.parquet").read_bytes() == before


def test_a_difference_deep_in_a_config_is_named_and_short(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    configs = [
        {"operators": [{"name": "gate"}, {"name": "ask", "prompt": {"id": 1, "text": text * 999}}]} for text in "ab"
    ]
    dataset.write_plan("derain", configs[0], "a" * 64, plan_table(cut([1])))
    with pytest.raises(DatasetError) as caught:
        dataset.write_plan("derain", configs[1], "b" * 64, plan_table(cut([1])))
    message = str(caught.value)
    assert "operators.ask.prompt.text: 'aaa" in message and "gate" not in message
    assert len(message) < 500


def test_another_config_is_refused(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    table = plan_table(cut([1]))
    dataset.write_plan("derain", {"seed": 0, "task": "derain", "density": 0.1}, "a" * 64, table)
    before = (tmp_path / "plan.parquet").read_bytes()
    with pytest.raises(DatasetError) as caught:
        dataset.write_plan("derain", {"seed": 7, "task": "derain", "angle": 3}, "b" * 64, table)
    message = str(caught.value)
    assert str(tmp_path) in message
    for difference in ("seed: 0 there, 7 now", "density: 0.1 there, None now", "angle: None there, 3 now"):
        assert difference in message
    assert "task:" not in message  # which is the same
    assert "What differs: angle: None there" in message
    assert "Choose another OUT, or remove the directory" in message
    assert (tmp_path / "plan.parquet").read_bytes() == before


def test_hashes_are_named_only_where_nothing_else_differs(tmp_path: Path) -> None:
    dataset, table = Dataset(f"{tmp_path}/a b"), plan_table(cut([1]))
    dataset.write_plan("derain", {"seed": 0, "items_sha256": "a" * 64}, "a" * 64, table)
    with pytest.raises(DatasetError) as caught:
        dataset.write_plan("derain", {"seed": 1, "items_sha256": "b" * 64}, "b" * 64, table)
    assert str(caught.value).startswith(f"'{tmp_path}/a b' holds data of another configuration. ")
    assert str(caught.value).endswith(" What differs: seed: 0 there, 1 now")
    with pytest.raises(DatasetError, match=r" What differs: items_sha256: what was hashed has changed$"):
        dataset.write_plan("derain", {"seed": 0, "items_sha256": "b" * 64}, "c" * 64, table)


def test_units_of_a_plan_that_is_gone_are_not_mixed_in(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path))
    (tmp_path / "plan.parquet").unlink()
    with pytest.raises(DatasetError, match=r"derain-000000\.parquet is of another configuration"):
        dataset.write_plan("derain", CONFIG, "0" * 64, plan_table(cut([1])))
    assert not (tmp_path / "plan.parquet").exists()


def test_committed_is_what_has_a_manifest(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, task="de-rain")
    assert dataset.committed() == set()
    write_unit(dataset, plan, 2)
    write_unit(dataset, plan, 0)
    (tmp_path / "shards/de-rain-000001.tar").write_bytes(b"half")
    for stray in (".DS_Store", "notes.txt", "de-rain-000001.parquet.bak", ".de-rain-000001.parquet.0123.tmp"):
        (tmp_path / "manifest" / stray).write_bytes(b"")
    assert dataset.committed() == {0, 2}
    assert [(name, commit.unit) for name, commit in dataset.commits()] == [
        ("de-rain-000000", 0),
        ("de-rain-000002", 2),
    ]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path), units=1)
    manifest = tmp_path / "manifest/derain-000000.parquet"
    pq.write_table(pq.read_table(manifest).replace_schema_metadata(None), manifest)
    with pytest.raises(DatasetError, match=r"derain-000000\.parquet has lost its metadata.*; remove it"):
        dataset.commit("derain-000000")
    (tmp_path / "plan.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"plan\.parquet is damaged: .*; remove it"):
        dataset.plan()
    (tmp_path / "plan.parquet").unlink()
    with pytest.raises(DatasetError, match="is not a dataset directory"):
        dataset.plan()


def test_find_datasets(tmp_path: Path) -> None:
    make_dataset(str(tmp_path / "derain"), units=1)
    make_dataset(str(tmp_path / "deblur"), task="deblur", units=1)
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("")
    assert [dataset.url for dataset in find_datasets(str(tmp_path))] == [f"{tmp_path}/deblur", f"{tmp_path}/derain"]
    assert [dataset.url for dataset in find_datasets(f"{tmp_path}/derain/")] == [f"{tmp_path}/derain"]
    with pytest.raises(DatasetError, match="no dataset at"):
        find_datasets(f"{tmp_path}/notes")


def test_an_unfinished_dataset_has_no_description(tmp_path: Path) -> None:
    dataset = Dataset(str(tmp_path))
    plan = make_plan(dataset, units=2)
    write_unit(dataset, plan, 0)
    with pytest.raises(DatasetError, match="is unfinished: run the command that makes it again, then this"):
        dataset.description()
    with pytest.raises(AssertionError, match="1 of 2 units"):
        finish_dataset(dataset, plan)
    assert not (tmp_path / "README.md").exists()


def test_a_description_adds_up(tmp_path: Path) -> None:
    dataset = make_dataset(str(tmp_path))
    plan = dataset.plan()
    totals = finish(dataset, plan, versions=VERSIONS, licences={SOURCE: LICENCE})
    description = dataset.description()
    assert description["totals"] == totals.as_json()
    assert description["totals"]["pairs"] == 12
    assert description["totals"]["examples"] == 48
    assert description["totals"]["rejects_by_reason"] == {"truncated": 3}
    shards = sorted((tmp_path / "shards").iterdir())
    assert description["totals"]["shard_bytes"] == sum(path.stat().st_size for path in shards)
    assert [entry["name"] for entry in description["shards"]] == [path.stem for path in shards]
    assert (description["config"], description["fingerprint"]) == (plan.config, plan.fingerprint)
    assert json.loads((tmp_path / "dataset.json").read_text()) == description


def test_the_card_says_what_is_in_it(tmp_path: Path) -> None:
    make_dataset(str(tmp_path))
    card = (tmp_path / "README.md").read_text()
    for line in (
        "12 pairs, 48 examples",
        "3 items were rejected",
        "| forward generate | 12 |",
        f"| {SOURCE} | {LICENCE} |",
        "| truncated | 3 |",
    ):
        assert line in card


def test_finishing_again_does_not_bless_an_edited_manifest(tmp_path: Path) -> None:
    root = tmp_path / "derain"
    make_dataset(str(root))
    dataset = Dataset(str(root))
    before = (root / "dataset.json").read_bytes()
    finish_dataset(dataset, dataset.plan())
    assert (root / "dataset.json").read_bytes() == before
    part = root / "manifest" / "derain-000001.parquet"
    table = pq.read_table(part)
    instructions = pa.array(["edited"] * table.num_rows)
    edited = table.set_column(table.schema.get_field_index("instruction"), "instruction", instructions)
    pq.write_table(edited.replace_schema_metadata(table.schema.metadata), part)
    with pytest.raises(DatasetError, match=r"derain-000001\.parquet is not what dataset\.json says"):
        finish_dataset(dataset, dataset.plan())
    assert (root / "dataset.json").read_bytes() == before
