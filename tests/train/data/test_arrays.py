"""Arrays joined by key as a plain dictionary joins them, built once for as long as the datasets are what they were."""

from __future__ import annotations

import fcntl
import io
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import train.data.arrays
from manifests.dataset import Dataset
from manifests.schema import MANIFEST
from manifests.write.contexts import write_contexts
from tests.datasets import contexts_of, examples
from tests.train.make import make_tokens
from train.data.arrays import EXAMPLE_KINDS, Finder, build, group_hashes
from train.data.corpus import Corpus

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name in NAMES:
        make_tokens(str(folder / name), task=name, units=2, pairs=3)
    return folder


@pytest.fixture
def datasets(made: Path, tmp_path: Path) -> dict[str, Dataset]:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return {name: Dataset(str(tmp_path / name)) for name in NAMES}


def test_they_say_what_the_manifests_say(datasets: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts from anywhere: of the own dataset, of another one trained on, of one that is not; none; several."""
    monkeypatch.setattr(train.data.arrays, "_ROWS_AT_ONCE", 5)
    monkeypatch.setattr(train.data.arrays, "_CONTEXTS_AT_ONCE", 7)
    drawn = random.Random(0)
    keys = {name: sorted({row["pair"] for row in examples(dataset)}) for name, dataset in datasets.items()}
    for name in ("a", "b"):
        for unit in datasets[name].unit_names():
            rows = datasets[name].table_of(unit, ["pair"]).num_rows
            listed = [drawn.choices(NAMES, k=drawn.randrange(4)) for _ in range(rows)]
            named = [[(drawn.choice(keys[of]), None if of == name else of, 0.5) for of in row] for row in listed]
            write_contexts(datasets[name], unit, contexts_of(*named))
    corpus = Corpus.open([datasets["a"].url, datasets["b"].url])
    assert [pairs.task for pairs in corpus.pairs] == [*NAMES] and len(corpus.examples) == 2
    group_of: dict[int, set[str]] = {}
    for index, found in enumerate(corpus.examples):
        rows, own = examples(datasets[NAMES[index]]), corpus.pairs[index]
        assert [EXAMPLE_KINDS[code] for code in found.code] == [(row["direction"], row["kind"]) for row in rows]
        assert [own.key(pair) for pair in found.pair] == [row["pair"] for row in rows]
        for number, row in enumerate(rows):
            chosen = range(*found.contexts[number : number + 2])
            shown = [(int(found.context_dataset[place]), int(found.context[place])) for place in chosen]
            assert [(NAMES[of], corpus.pairs[of].key(pair)) for of, pair in shown] == [
                (context["dataset"] or NAMES[index], context["pair"]) for context in row["contexts"]
            ]
        assert found.starts.tolist() == [0, 12, 24]
    for index, pairs in enumerate(corpus.pairs):
        for row in examples(datasets[NAMES[index]]):
            number = [pairs.key(pair) for pair in range(len(pairs.keys))].index(row["pair"])
            group_of.setdefault(int(pairs.groups[number]), set()).add(row["source_group"])
    assert sorted(map(list, group_of.values())) == [["photo 0"], ["photo 1"]]


def test_they_are_found_again_until_a_file_changes(
    datasets: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a context's dataset too, which is known only when manifests have been read."""
    urls, folder = [datasets["a"].url], str(tmp_path / "arrays")
    (unit, _), (pair, other) = datasets["a"].unit_names(), [examples(datasets[name])[0]["pair"] for name in ("b", "a")]
    _all_have(datasets["a"], unit, (pair, "b", 1.0))
    first = build(urls, folder)
    with monkeypatch.context() as patch:
        patch.setattr(train.data.arrays, "read_commit", None)
        assert build(urls, folder) == first
    datasets["b"].store.write_bytes("manifest/b-000000.parquet", datasets["b"].store.read("manifest/b-000000.parquet"))
    second = build(urls, folder)
    assert second == first.with_name(f"{first.name}-1")
    _all_have(datasets["a"], unit, (other, None, 1.0))
    corpus = Corpus.open(urls, folder=folder)
    assert corpus.arrays not in (str(first), str(second)) and len(corpus.pairs) == 1
    assert {corpus.pairs[0].key(pair) for pair in corpus.examples[0].context[:12]} == {other}
    assert len(list(Path(folder).iterdir())) == 3
    with monkeypatch.context() as patch:
        patch.setattr("train.data.corpus.build", None)
        again = Corpus.open(urls, built=corpus.arrays)
    assert again.identity == corpus.identity and again.weights == corpus.weights


def test_what_a_killed_build_left_is_removed_and_a_failed_one_leaves_nothing(
    datasets: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "arrays"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if it were killed where it fails
        patch.setattr(train.data.arrays, "group_hashes", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build([datasets["a"].url], str(folder))
    (left,) = folder.iterdir()
    assert left.suffix == ".tmp"
    with open(left / "building", "rb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)  # as another process has it that is still at work there
        build([datasets["b"].url], str(folder))
        assert left.exists()
    shutil.rmtree(next(path for path in folder.iterdir() if path != left))
    monkeypatch.setattr(train.data.arrays, "group_hashes", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build([datasets["a"].url], str(folder))
    assert list(folder.iterdir()) == []


def test_manifests_that_name_no_pair_of_ours(datasets: dict[str, Dataset]) -> None:
    for column, value, message in (
        ("pair", "A" * 32, f"pair {'A' * 32} of a has no tokens: remove tokens/ and run make tokens again"),
        ("pair", "0" * 32, f"pair {'0' * 32} of a has no tokens"),
        ("pair", "short", "pair short of a has no tokens"),
        ("kind", "guess", r"a-000000\.parquet cannot be read: an example has another direction or kind than ours"),
        ("source_group", None, r"a-000000\.parquet cannot be read: its columns are not ours, source_group among them"),
    ):
        store = datasets["a"].store
        before = store.read("manifest/a-000000.parquet")
        with pq.ParquetFile(io.BytesIO(before)) as file:
            table, metadata = file.read(), file.schema_arrow.metadata
        index = table.schema.get_field_index(column)
        if value is None:
            table = table.drop_columns(column)
        else:
            values = pa.array([value, *table[column].to_pylist()[1:]], pa.string())
            table = table.set_column(index, MANIFEST.field(column), values)
        buffer = io.BytesIO()
        pq.write_table(table.replace_schema_metadata(metadata), buffer)
        store.write_bytes("manifest/a-000000.parquet", buffer.getvalue())
        with pytest.raises(ValueError, match=message) as refused:
            Corpus.open([datasets["a"].url])
        assert "\n" not in str(refused.value)
        store.write_bytes("manifest/a-000000.parquet", before)


def test_keys_with_the_same_first_half_are_told_apart() -> None:
    random = np.random.default_rng(0)
    keys = random.integers(0, 3, (40, 2), np.uint64) * np.uint64(2**62)
    keys = np.unique(keys, axis=0)[random.permutation(9)]
    asked = random.integers(0, 9, 50)
    assert Finder(keys).find(keys[asked], "derain").tolist() == asked.tolist()
    for missing in ([0, 1], [1, 0], [2**64 - 1, 0]):
        with pytest.raises(ValueError, match=f"pair {missing[0]:016x}{missing[1]:016x} of derain has no tokens"):
            Finder(keys).find(np.array([keys[3], missing], np.uint64), "derain")


def test_a_groups_hash_is_of_its_name_alone() -> None:
    names = ["", "a", "b", "ab", "ba", "train/00001.jpg", "train/00010.jpg", "é", "x" * 1_000, "x" * 1_001]
    alone = [int(group_hashes(pa.array([name]))[0]) for name in names]
    assert group_hashes(pa.array(["before", *names, "behind"]).slice(1, len(names))).tolist() == alone
    assert len({*alone}) == len(names)
    many = group_hashes(pc.binary_join_element_wise("photo", pa.array(map(str, range(20_000))), ""))
    assert len({*many.tolist()}) == 20_000
    shares = np.bincount(many >> np.uint64(60), minlength=16)
    assert abs(shares / 1_250 - 1).max() < 0.12  # of 16 equal shares; four standard deviations


def _all_have(dataset: Dataset, unit: str, context: tuple[Any, ...]) -> None:
    rows = dataset.table_of(unit, ["pair"]).num_rows
    write_contexts(dataset, unit, contexts_of(*([context],) * rows))
