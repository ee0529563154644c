from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from manifests.write import writer
from manifests.write.contexts import Contexts, finish_rewriting, read_columns, write_contexts
from tests.datasets import contexts_of, sha256_by_file
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import edit, findings

NAME = "derain-000001"
PART = f"manifest/{NAME}.parquet"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(writer, "ROW_GROUP_ROWS", 6)
    return make_dataset(str(tmp_path / "derain"))


def test_the_contexts_that_are_there_already_are_not_written(dataset: Dataset) -> None:
    before = sha256_by_file(Path(dataset.url))
    write_contexts(dataset, NAME, there(dataset, null_scores=True))
    assert sha256_by_file(Path(dataset.url)) == before


def test_there_and_back_again_gives_the_bytes_of_the_writer(dataset: Dataset) -> None:
    plan, before, old = dataset.plan(), sha256_by_file(Path(dataset.url)), there(dataset, null_scores=True)
    commit = write_contexts(dataset, NAME, contexts_of(*([] for _ in old.ranked), method="other"))
    assert commit.without_context == 16 == dataset.commit(NAME).without_context
    assert not dataset.store.exists("dataset.json")
    finish_rewriting(dataset, plan)
    assert list(verify(dataset.url)) == []
    assert dataset.description()["totals"]["examples_without_context"] == 16
    write_contexts(dataset, NAME, old)
    finish_rewriting(dataset, plan)
    assert sha256_by_file(Path(dataset.url)) == before


def test_row_groups_and_checksums_stay(dataset: Dataset) -> None:
    write_contexts(dataset, NAME, there(dataset))
    groups = pq.ParquetFile(Path(dataset.url) / PART).metadata
    assert [groups.row_group(group).num_rows for group in range(groups.num_row_groups)] == [6, 6, 4]


def test_what_a_row_says_of_its_context_is_checked(tmp_path: Path) -> None:
    root = tmp_path / "derain"
    dataset = make_dataset(str(root))
    dataset.store.remove("dataset.json")

    def change(**columns: object) -> list[str]:
        saved = (root / PART).read_bytes()
        edit(root / PART, lambda rows: rows[0].update(columns))
        messages = [message for _, message in findings(root)]
        (root / PART).write_bytes(saved)
        return messages

    assert change() == []
    [message] = change(context_method=None)
    assert "it does not say how its in-context examples were chosen" in message
    first, second = change(contexts=[])
    assert "records 0 examples without an in-context one; its rows have 1" in first
    assert "it has no in-context example, but a method by which one was chosen" in second
    other = {"pair": pairs(dataset)[4], "dataset": None, "score": None}
    assert change(contexts=[{**other, "dataset": "elsewhere"}]) == []  # it is not here, and cannot be looked into
    [message] = change(contexts=[{**other, "dataset": "elsewhere", "pair": pairs(dataset)[0]}])
    assert "the pair is its own in-context example" in message
    [message] = change(contexts=[other, other])
    assert "it has an in-context example twice" in message
    [message] = change(contexts=[other, {**other, "pair": "0" * 32}])
    assert f"its in-context example, pair {'0' * 32}, is not in the dataset" in message


def test_a_ranked_list_is_read_in_its_order(dataset: Dataset) -> None:
    """Of this dataset and of another one, with scores, and what each shows."""
    other = make_dataset(str(Path(dataset.url).with_name("edits")), task="edits")
    elsewhere, keys = [pair.key for pair in other.pairs()], [pair.key for pair in dataset.pairs()]
    ranked: list[tuple[str, str | None, float | None]] = [(keys[5], None, 0.9), (elsewhere[1], "edits", 0.5)]
    count = len(read_columns(dataset, NAME, ["pair"]))
    write_contexts(dataset, NAME, contexts_of(ranked, *([(keys[0], None, None)] for _ in range(count - 1))))
    first = dataset[pairs(dataset)[0]].examples[0]
    assert [(one["pair"], one["dataset"], one["score"]) for one in first.ranked] == ranked
    shown = [*first.contexts()]
    assert [one.pair.key for one in shown] == [keys[5], elsewhere[1]]
    assert {(one.direction, one.kind) for one in shown} == {(first.direction, first.kind)}
    assert (best := first.context()) and best.pair.key == keys[5]


def there(dataset: Dataset, name: str = NAME, *, null_scores: bool = False) -> Contexts:
    """The contexts of a part as they are, or as if retrieved."""
    found = read_columns(dataset, name, ["contexts"])["contexts"].to_pylist()
    score = None if null_scores else 0.5
    method = "seeded" if null_scores else "retrieved"
    return contexts_of(*([(one["pair"], None, score) for one in row] for row in found), method=method)


def pairs(dataset: Dataset) -> list[str]:
    found: list[str] = read_columns(dataset, NAME, ["pair"])["pair"].to_pylist()
    return found
