from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset
from manifests.verify.dataset import verify
from manifests.write import writer
from manifests.write.contexts import Contexts, finish_rewriting, read_columns, write_contexts
from tests.datasets import sha256_by_file
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import edit, findings

NAME = "derain-000001"
PART = f"manifest/{NAME}.parquet"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setattr(writer, "_ROW_GROUP_ROWS", 6)
    return make_dataset(str(tmp_path / "derain"))


def test_the_contexts_that_are_there_already_are_not_written(dataset: Dataset) -> None:
    before = sha256_by_file(Path(dataset.url))
    write_contexts(dataset, NAME, there(dataset, null_scores=True))
    assert sha256_by_file(Path(dataset.url)) == before


def test_there_and_back_again_gives_the_bytes_of_the_writer(dataset: Dataset) -> None:
    plan, before, old = dataset.plan(), sha256_by_file(Path(dataset.url)), there(dataset, null_scores=True)
    none = pa.nulls(len(old.pairs), pa.string())
    commit = write_contexts(dataset, NAME, Contexts(pairs=none, scores=none.cast(pa.float64()), method="other"))
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
    assert "it does not say how its in-context example was chosen" in message
    first, second = change(context_pair=None)
    assert "records 0 examples without an in-context one; its rows have 1" in first
    assert "it has no in-context example, but a dataset, method or score of one" in second
    assert change(context_dataset="elsewhere") == []  # it is not here, and cannot be looked into
    [message] = change(context_dataset="elsewhere", context_pair=pairs(dataset)[0])
    assert "the pair is its own in-context example" in message


def there(dataset: Dataset, name: str = NAME, *, null_scores: bool = False) -> Contexts:
    """The contexts of a part as they are, or as if retrieved."""
    found = read_columns(dataset, name, ["context_pair"])["context_pair"].combine_chunks()
    scores = pa.nulls(len(found), pa.float64()) if null_scores else pa.array([0.5] * len(found))
    return Contexts(pairs=found, scores=scores, method="seeded" if null_scores else "retrieved")


def pairs(dataset: Dataset) -> list[str]:
    found: list[str] = read_columns(dataset, NAME, ["pair"])["pair"].to_pylist()
    return found
