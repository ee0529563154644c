"""A dataset of schema version 1, of two shards of two pairs, as the package wrote it before version 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.browse.similarity import Similarities
from manifests.dataset import Dataset, DatasetError
from manifests.read.query import connect, run_sql, select
from manifests.schema import MANIFEST
from manifests.verify.dataset import verify
from manifests.versions import MANIFEST_1, REJECTS_2
from manifests.write.contexts import finish_rewriting, write_contexts
from tests.commands import ROOT
from tests.datasets import Row, contexts_of, nearest
from tests.manifests.make import make_dataset
from tests.manifests.verify.damage import edit, findings

PARTS = ("derain-000000", "derain-000001")


@pytest.fixture
def old(tmp_path: Path) -> Dataset:
    return Dataset(str(shutil.copytree(ROOT / "tests/data/version-1/derain", tmp_path / "derain")))


def stored(dataset: Dataset) -> list[Row]:
    """The rows as pyarrow reads them of the files."""
    tables = [pq.read_table(f"{dataset.url}/manifest/{name}.parquet") for name in PARTS]
    return [row for table in tables for row in table.to_pylist(maps_as_pydicts="strict")]


def test_the_columns_of_version_1_are_those_of_the_files(old: Dataset) -> None:
    assert MANIFEST_1.equals(pq.read_schema(f"{old.url}/manifest/{PARTS[0]}.parquet").remove_metadata())
    assert REJECTS_2.equals(pq.read_schema(f"{old.url}/rejects/{PARTS[0]}.parquet").remove_metadata())


def test_its_rows_are_read_as_todays(old: Dataset) -> None:
    wanted = []
    for row in stored(old):
        context = {name: row.pop(f"context_{name}") for name in ("pair", "dataset", "score")}
        wanted.append({**row, "contexts": [context] if context["pair"] else []})
    assert [*old.rows()] == wanted
    assert old.to_arrow().column_names == MANIFEST.names
    assert [row["contexts"] for row in old.rows(["contexts", "pair"])] == [row["contexts"] for row in wanted]
    assert [*next(old.rows(["contexts", "pair"]))] == ["contexts", "pair"]
    first = next(old.pairs()).examples[0]
    shown = first.context()
    assert shown
    assert shown.pair.key == nearest(wanted[0])["pair"]


def test_it_verifies_and_can_be_asked_in_sql_beside_one_of_today(old: Dataset, tmp_path: Path) -> None:
    make_dataset(str(tmp_path / "edits"), task="edits", pictures=True)
    assert list(verify(str(tmp_path))) == []
    pool = connect(str(tmp_path))
    sql = "SELECT task, count(*), count(DISTINCT contexts[1].pair) FROM examples GROUP BY task ORDER BY task"
    assert run_sql(pool, sql).rows == [("derain", 16, 4), ("edits", 48, 12)]
    assert len(select(pool, "SELECT examples FROM pairs WHERE task = 'derain'")) == 4
    sql = "SELECT task, count(*), sum(len(pictures)) FROM rejects GROUP BY task ORDER BY task"
    assert run_sql(pool, sql).rows == [("derain", 2, 0), ("edits", 3, 6)]


def test_an_edited_one_is_found(old: Dataset) -> None:
    old.store.remove("dataset.json")
    edit(Path(old.url) / f"manifest/{PARTS[0]}.parquet", lambda rows: rows[0].update(context_pair="0" * 32))
    assert any("is not in the dataset" in message for _, message in findings(Path(old.url)))


def test_contexts_chosen_anew_make_it_one_of_today(old: Dataset) -> None:
    """Part after part: in between it has parts of both versions."""
    plan, keys = old.plan(), [pair.key for pair in old.pairs()]
    both = [(keys[3], None, 0.5), (keys[2], None, 0.25)]
    write_contexts(old, PARTS[0], contexts_of(*([both] * 8)))
    assert [len(row["contexts"]) for row in old.rows()] == [2] * 8 + [1] * 8
    write_contexts(old, PARTS[1], contexts_of(*([[(keys[0], None, 0.5)]] * 8)))
    finish_rewriting(old, plan)
    assert list(verify(old.url)) == []
    assert {*pq.read_schema(f"{old.url}/manifest/{PARTS[1]}.parquet").names} == {*MANIFEST.names}
    assert len(Similarities.of(old).nearest) == 4


@pytest.mark.parametrize(("finished", "state"), [(True, "It stays readable as it is"), (False, "Only that version")])
def test_one_that_was_begun_is_not_gone_on_with(old: Dataset, finished: bool, state: str) -> None:
    table, config = pq.read_table(f"{old.url}/plan.parquet"), {**old.plan().config, "schema_version": 3}
    if not finished:
        old.store.remove("dataset.json")
    with pytest.raises(DatasetError) as caught:
        old.write_plan("derain", config, "e" * 64, table)
    said = str(caught.value)
    assert said.startswith(f"{old.url} was begun by an earlier version of this package, of schema version 1; this one")
    assert state in said and "choose another OUT to make it anew" in said and "\n" not in said


def test_a_later_version_is_refused(old: Dataset) -> None:
    for file in Path(old.url).rglob("*.parquet"):
        data = file.read_bytes()
        assert b'"schema_version":1' in data
        file.write_bytes(data.replace(b'"schema_version":1', b'"schema_version":4'))
    with pytest.raises(DatasetError, match=r"is of schema version 4, and 1, 2 and 3 are read: update this package"):
        old.plan()
