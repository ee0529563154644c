from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset, DatasetError
from manifests.verify.dataset import verify
from operators.retrieve import contexts
from operators.retrieve.contexts import main
from operators.retrieve.distance import Distance
from operators.retrieve.embeddings import embed
from operators.retrieve.raie import assign_contexts
from operators.shared.texts import Vectors
from tests.datasets import examples, nearest, sha256_by_file
from tests.edits import make_edits
from tests.operators.words import Words
from tests.persons import make_persons

Row = dict[str, Any]
TEXTS = [
    "add a dog on the beach",
    "remove the cat",
    "add a dog at the beach",
    "make it winter",
    "remove the cat",
    "turn the summer into winter",
    "remove the small cat",
    "add a bird in the sky",
]
"""Of the photos 0 to 3, two edits each: see `edits`."""


@pytest.fixture
def edits(tmp_path: Path) -> Dataset:
    """A finished dataset of TEXTS in three shards; the last pair has no describe examples."""
    return make_edits(tmp_path / "edit", TEXTS)


def test_every_context_is_the_nearest_other_pair_with_the_same_direction_and_kind(edits: Dataset) -> None:
    report = assign_contexts(edits, edits.plan(), Words())
    texts = instructions(edits)
    forward = {texts[row["pair"]]: row for row in rows_of(edits, "forward", "generate")}
    assert texts[nearest(forward["add a dog on the beach"])["pair"]] == "add a dog at the beach"
    assert texts[nearest(forward["remove the small cat"])["pair"]] == "remove the cat"
    (first, second) = (row for row in rows_of(edits, "forward", "generate") if texts[row["pair"]] == "remove the cat")
    assert (nearest(first)["pair"], nearest(second)["pair"]) == (second["pair"], first["pair"])
    assert nearest(first)["score"] == 1.0
    check_contexts(edits, edits, "raie:words")
    assert (report.pairs, report.texts, report.embedded, report.method, report.recall) == (8, 7, 7, "exact", 1.0)
    assert (report.examples, report.without) == (8 * 2 + 7 * 2, 0)
    assert "8 pairs with 7 distinct instructions" in str(report)


def test_contexts_agree_with_brute_force(edits: Dataset) -> None:
    assign_contexts(edits, edits.plan(), Words())
    texts = instructions(edits)
    for row in examples(edits):
        kinds = rows_of(edits, row["direction"], row["kind"])
        vectors = dict(zip(texts, Words()(list(texts.values())).astype(np.float64), strict=True))
        scores = [(-round(float(vectors[other["pair"]] @ vectors[row["pair"]]), 6), other["pair"]) for other in kinds]
        score, pair = min(entry for entry in scores if entry[1] != row["pair"])
        assert (nearest(row)["pair"], nearest(row)["score"]) == (pair, pytest.approx(-score, abs=2e-6))


def test_all_else_stays_as_it_was_and_the_dataset_verifies(edits: Dataset) -> None:
    before, files = examples(edits), sha256_by_file(Path(edits.url))
    commits = dict(edits.commits())
    assert list(verify(edits.url)) == []
    assign_contexts(edits, edits.plan(), Words())
    assert list(verify(edits.url)) == []
    context = ("contexts", "context_method")
    assert [without(row, context) for row in before] == [without(row, context) for row in examples(edits)]
    changed = {file for file, sha256 in sha256_by_file(Path(edits.url)).items() if files.get(file) != sha256}
    parts = {f"manifest/edit-{unit:06d}.parquet" for unit in range(3)}
    assert changed == {"dataset.json", "embeddings/words.parquet", *parts}
    assert [commit.without_context for commit in commits.values()] == [0, 0, 2]  # seeded ones came from the shard
    assert dict(edits.commits()) == {name: replace(commit, without_context=0) for name, commit in commits.items()}
    assert {row["context_method"] for row in examples(edits)} <= {"raie:words", None}


def test_again_changes_no_byte_and_embeds_nothing(edits: Dataset) -> None:
    assign_contexts(edits, edits.plan(), Words())
    files = sha256_by_file(Path(edits.url))
    again = Words()
    assert assign_contexts(edits, edits.plan(), again).embedded == 0
    assert again.asked == []
    assert sha256_by_file(Path(edits.url)) == files


def test_an_unfinished_dataset_stays_unfinished_and_gets_the_same_parts(tmp_path: Path) -> None:
    finished, unfinished = (make_edits(tmp_path / n / "edit", TEXTS, finished=n == "a") for n in "ab")
    for dataset in (finished, unfinished):
        assign_contexts(dataset, dataset.plan(), Words())
    files, there = (sha256_by_file(Path(dataset.url)) for dataset in (unfinished, finished))
    assert "dataset.json" not in files
    assert files.items() <= there.items()


def test_a_dataset_that_is_not_all_there_is_refused(edits: Dataset) -> None:
    edits.store.remove("manifest/edit-000001.parquet")
    with pytest.raises(DatasetError, match="is unfinished"):
        assign_contexts(edits, edits.plan(), Words())


def test_edits_since_the_dataset_was_finished_are_not_hidden(edits: Dataset) -> None:
    path = Path(edits.url) / "manifest/edit-000002.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(5, table.schema.field("instruction"), [["x"] * table.num_rows]), path)
    before = sha256_by_file(Path(edits.url))
    with pytest.raises(DatasetError, match=r"edit-000002\.parquet was changed since"):
        assign_contexts(edits, edits.plan(), Words())
    assert sha256_by_file(Path(edits.url)).items() >= before.items()


def test_a_kill_at_any_write_is_healed_by_running_again(tmp_path: Path) -> None:
    """The writes are: embeddings, reopened.json, three parts, README.md, dataset.json."""
    calm = make_edits(tmp_path / "calm" / "edit", TEXTS)
    killed = [make_edits(tmp_path / f"{die_at}" / "edit", TEXTS) for die_at in range(7)]
    assign_contexts(calm, calm.plan(), Words())
    # All that are killed are children of one process, which has imported what takes seconds, and started no thread.
    script = f"""
import os, manifests.storage as storage
from manifests.dataset import Dataset
from operators.retrieve.raie import assign_contexts
from tests.operators.words import Words
whole, count = storage.Store.write_bytes, iter(range(100))
for die_at, url in enumerate({[dataset.url for dataset in killed]!r}):
    if child := os.fork():
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9, die_at
        continue
    def write_bytes(store, name, data):
        if next(count) == die_at:
            # half a temporary file, as a real kill leaves
            os.makedirs(os.path.dirname(store.path(name)), exist_ok=True)
            open(store.path(name) + ".1234.tmp", "wb").write(data[: len(data) // 2])
            os.kill(os.getpid(), 9)
        whole(store, name, data)
    storage.Store.write_bytes = write_bytes
    dataset = Dataset(url)
    assign_contexts(dataset, dataset.plan(), Words())
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])
    for dataset in killed:
        assert sha256_by_file(Path(dataset.url)) != sha256_by_file(Path(calm.url))
        assign_contexts(dataset, dataset.plan(), Words())
        assert sha256_by_file(Path(dataset.url)) == sha256_by_file(Path(calm.url))
        assert list(verify(dataset.url)) == []


def test_not_the_same_source(edits: Dataset) -> None:
    assign_contexts(edits, edits.plan(), Words(), not_same_source=True)
    group = {row["pair"]: row["source_group"] for row in examples(edits)}
    assert all(group[nearest(row)["pair"]] != group[row["pair"]] for row in examples(edits))
    check_contexts(edits, edits, "raie:words")


def test_where_there_is_no_other_pair_the_example_counts_as_without(tmp_path: Path) -> None:
    edits = make_edits(tmp_path / "edit", ["add a dog"])
    report = assign_contexts(edits, edits.plan(), Words())
    assert (report.examples, report.without) == (0, 2)
    assert edits.description()["totals"]["examples_without_context"] == 2
    assert {nearest(row)["pair"] for row in examples(edits)} == {None}
    assert list(verify(edits.url)) == []


def test_the_distance_can_be_replaced_and_hnsw_used(edits: Dataset) -> None:
    assign_contexts(edits, edits.plan(), Words())
    cosine = examples(edits)
    report = assign_contexts(edits, edits.plan(), Words(), distance=Distance.L2, exact_up_to=2)
    assert (report.method, report.recall) == ("hnsw", 1.0)
    for before, after in zip(cosine, examples(edits), strict=True):
        assert nearest(after)["pair"] == nearest(before)["pair"]
        assert nearest(after)["score"] == pytest.approx(nearest(before)["score"] - 1, abs=2e-6)


def test_contexts_may_come_from_another_dataset(tmp_path: Path) -> None:
    train, dev = make_edits(tmp_path / "edit", TEXTS), make_edits(tmp_path / "dev", ["remove the cat", "add one dog"])
    assign_contexts(dev, dev.plan(), Words(), databases=[train])
    check_contexts(dev, train, "raie:words", "edit")
    texts = instructions(train)
    # The same text is the nearest, and of two pairs with it the one with the lower key.
    (cat, _) = rows_of(dev, "forward", "generate")
    assert texts[nearest(cat)["pair"]] == "remove the cat" and nearest(cat)["score"] == 1.0
    assert nearest(cat)["pair"] == min(pair for pair, text in texts.items() if text == "remove the cat")
    assert list(verify(str(tmp_path))) == []
    assert list(verify(dev.url)) == []  # and by itself, where the other cannot be looked into

    for file in Path(train.url).glob("manifest/*.parquet"):
        file.unlink()
    messages = [finding.message for finding in verify(str(tmp_path)) if "/dev/manifest" in finding.file]
    assert len(messages) == 6
    assert f"its in-context example, pair {nearest(cat)['pair']}, is not in the dataset edit" in messages[0]


def test_a_pair_is_never_its_own_context_in_another_dataset_either(tmp_path: Path) -> None:
    train, dev = make_edits(tmp_path / "edit", TEXTS), make_edits(tmp_path / "dev", TEXTS[:3], key_task="edit")
    assign_contexts(dev, dev.plan(), Words(), databases=[train])
    assert {row["pair"] for row in examples(dev)} <= {row["pair"] for row in examples(train)}
    assert all(nearest(row)["pair"] != row["pair"] for row in examples(dev))
    assert list(verify(str(tmp_path))) == []


def test_the_evaluation_of_one_task_takes_its_training_set_alone(tmp_path: Path) -> None:
    """Paper section 4.3: MagicBrush's dev set, with examples of its training set. Both are of one task."""
    train = make_edits(tmp_path / "data/magicbrush", TEXTS)
    dev = make_edits(tmp_path / "dev/magicbrush", ["remove the cat", "add one dog", "remove the cat"])
    before = sha256_by_file(Path(train.url))
    report = assign_contexts(dev, dev.plan(), Words(), databases=[train])
    assert (report.pairs, report.examples, report.without) == (3, 10, 0)
    check_contexts(dev, train, "raie:words", "../data/magicbrush")
    # Two of the dev set have the same text, which the training set has too: theirs is the training set's all the same.
    there = {row["pair"] for row in examples(train)}
    assert all(nearest(row)["pair"] in there for row in examples(dev))
    changed = {file for file, sha256 in sha256_by_file(Path(train.url)).items() if before.get(file) != sha256}
    assert changed == {"embeddings/words.parquet"}
    assert list(verify(dev.url)) == []
    context = next(dev.pairs()).examples[0].context()
    assert context and context.pair.key in there and context.pair.image("input").shape == (8, 8, 3)
    relative = Dataset(os.path.relpath(dev.url))
    found = next(relative.pairs()).examples[0].context()
    assert found and found.pair.key == context.pair.key


def test_a_union_of_databases_and_the_dataset_itself(tmp_path: Path) -> None:
    """In training: the nearest of all pairs of both, by brute force, and never the pair itself."""
    edits = make_edits(tmp_path / "ultraedit", TEXTS)
    other = make_edits(
        tmp_path / "magicbrush", ["remove the small cat", "make it snow", "add a dog at the sea", "last"]
    )
    report = assign_contexts(edits, edits.plan(), Words(), databases=[other, edits])
    assert report.method == "exact"
    assert list(verify(str(tmp_path))) == []
    texts = {None: instructions(edits), "magicbrush": instructions(other)}
    kinds = {None: examples(edits), "magicbrush": examples(other)}
    by_hand = {text: Words()([text])[0].astype(np.float64) for of in texts.values() for text in of.values()}
    chosen = set()
    for row in examples(edits):
        own = by_hand[texts[None][row["pair"]]]
        offered = [
            (-round(float(by_hand[texts[place][one["pair"]]] @ own), 6), one["pair"], place)
            for place, rows in kinds.items()
            for one in rows
            if (one["direction"], one["kind"]) == (row["direction"], row["kind"]) and one["pair"] != row["pair"]
        ]
        score, pair, place = min(offered, key=lambda entry: entry[:2])
        assert (nearest(row)["pair"], nearest(row)["dataset"]) == (pair, place)
        assert nearest(row)["score"] == pytest.approx(-score, abs=2e-6)
        chosen.add(place)
    assert chosen == {None, "magicbrush"}
    assign_contexts(edits, edits.plan(), Words(), databases=[edits])
    alone = examples(edits)
    assign_contexts(edits, edits.plan(), Words())
    assert examples(edits) == alone


def test_a_dataset_that_is_named_twice_or_copied_is_refused(edits: Dataset, tmp_path: Path) -> None:
    copy = Dataset(str(shutil.copytree(edits.url, tmp_path / "copy")))
    with pytest.raises(DatasetError, match=r"has the fingerprint of .*: it is a copy"):
        assign_contexts(edits, edits.plan(), Words(), databases=[copy])
    other = make_edits(tmp_path / "other", ["x", "y"])
    twice = [other, Dataset(f"{tmp_path}/copy/../other/")]
    with pytest.raises(DatasetError, match="is named twice"):
        assign_contexts(edits, edits.plan(), Words(), databases=twice)
    with pytest.raises(DatasetError, match="is named twice"):
        assign_contexts(edits, edits.plan(), Words(), databases=[edits, edits])


def test_a_test_split_gives_no_examples_to_training_data(edits: Dataset, tmp_path: Path) -> None:
    before = examples(edits)
    test = make_edits(tmp_path / "edit-test", ["remove the cat", "add a dog", "make it winter"], split="test")
    with pytest.raises(DatasetError, match="is of the split test: no training data has examples of it"):
        assign_contexts(edits, edits.plan(), Words(), databases=[edits, test])
    assert examples(edits) == before
    assign_contexts(test, test.plan(), Words(), databases=[edits])
    check_contexts(test, edits, "raie:words", "edit")


def test_what_a_group_decides_is_not_decided_by_instructions(tmp_path: Path) -> None:
    persons = make_persons(tmp_path, 8)
    with pytest.raises(DatasetError, match="its contexts are of the same group"):
        assign_contexts(persons, persons.plan(), Words())


def test_embeddings_are_kept_by_text_and_fingerprint(edits: Dataset) -> None:
    vectors, embedded = embed(edits, Words(), ["b a", "a", "c"])
    assert embedded == 3
    np.testing.assert_array_equal(vectors, Words()(["b a", "a", "c"]))
    more = Words()
    vectors, embedded = embed(edits, more, ["d", "c", "b a"])
    assert (embedded, more.asked) == (1, ["d"])
    np.testing.assert_array_equal(vectors, Words()(["d", "c", "b a"]))
    file = Path(edits.url) / "embeddings/words.parquet"
    assert pq.read_schema(file).field("vector").type.list_size == 64
    assert pq.read_table(file)["text_sha256"].to_pylist() == sorted(
        hashlib.sha256(text.encode()).digest() for text in ("d", "c", "b a")
    )
    assert embed(edits, Words(fingerprint="two"), ["c"])[1] == 1
    file.write_bytes(file.read_bytes()[:-20])
    assert embed(edits, Words(fingerprint="two"), ["c"])[1] == 1


def test_what_is_embedded_so_far_is_kept(edits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.retrieve.embeddings._SAVE_EVERY", 2)
    monkeypatch.setattr("operators.retrieve.embeddings._ROW_GROUP_ROWS", 2)

    class Killed(Exception):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Dying(Words):
        def __call__(self, texts: Sequence[str]) -> Vectors:
            if len(self.asked) == 4:
                raise Killed
            return super().__call__(texts)

    texts = list("abcdefg")
    with pytest.raises(Killed):
        embed(edits, Dying(), texts)
    vectors, embedded = embed(edits, Words(), texts)
    assert embedded == 3
    np.testing.assert_array_equal(vectors, Words()(texts))


def test_the_command_line(edits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(contexts, "MiniLM", lambda device: Words())
    assert main([edits.url]) == 0
    assert "30 examples have an in-context example, 0 have none" in capsys.readouterr().out
    check_contexts(edits, edits, "raie:words")
    assert main([f"{edits.url}/nothing"]) == 2
    assert capsys.readouterr().err.startswith("xprompt contexts: ")
    with pytest.raises(SystemExit):
        main([edits.url, "--embedder", "clip"])


def check_contexts(dataset: Dataset, database: Dataset, method: str, name: str | None = None) -> None:
    """Every example has another pair of the database with the same direction and kind."""
    there = {(row["pair"], row["direction"], row["kind"]) for row in examples(database)}
    for row in examples(dataset):
        assert (nearest(row)["pair"], row["direction"], row["kind"]) in there
        assert nearest(row)["pair"] != row["pair"]
        assert (row["context_method"], nearest(row)["dataset"]) == (method, name)
        assert 0 <= nearest(row)["score"] <= 1


def rows_of(dataset: Dataset, direction: str, kind: str) -> list[Row]:
    return [row for row in examples(dataset) if (row["direction"], row["kind"]) == (direction, kind)]


def instructions(dataset: Dataset) -> dict[str, str]:
    """By pair."""
    return {row["pair"]: row["instruction"] for row in rows_of(dataset, "forward", "generate")}


def without(row: Row, columns: Sequence[str]) -> Row:
    return {name: value for name, value in row.items() if name not in columns}
