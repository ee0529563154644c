"""Datasets joined with their tokens by key, and clear words where they cannot be."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset, Plan, write_table
from manifests.write.contexts import write_contexts
from tests.datasets import contexts_of, examples, nearest
from tests.train.make import make_tokens
from train.data.corpus import Corpus


def test_contexts_of_the_manifest_are_found_by_key(tmp_path: Path) -> None:
    dataset = make_tokens(str(tmp_path / "derain"))
    corpus = Corpus.open([dataset.url])
    rows, found = examples(dataset), corpus.examples[0]
    keys = keys_of(corpus, 0)
    assert [keys[pair] for pair in found.pair] == [row["pair"] for row in rows]
    assert [keys[pair] for pair in found.context] == [nearest(row)["pair"] for row in rows]
    shard, row = corpus.pairs[0].place(5)
    assert (shard, row) == ("derain-000001", 1)


def test_what_is_evaluated_on_is_never_trained_on(tmp_path: Path) -> None:
    for config, message in (
        (
            {"source": {"split": "Rain100H"}},
            "derain is of the split Rain100H: it is evaluated on, and never trained on",
        ),
        ({"operators": [{"name": "colour_dense", "palette": "unseen"}]}, "drawn in the palette unseen"),
    ):
        dataset = make_tokens(str(tmp_path / str(len(message)) / "derain"), units=1)
        plan = dataset.plan()
        table = pq.read_table(io.BytesIO(dataset.store.read("plan.parquet")))
        write_table(dataset.store, "plan.parquet", table, {**vars(plan), "config": config})
        with pytest.raises(ValueError, match=message):
            Corpus.open([dataset.url])


def test_without_contexts_it_is_other_data(tmp_path: Path) -> None:
    corpus = Corpus.open([make_tokens(str(tmp_path / "derain"), units=1).url])
    bare = corpus.without_contexts()
    count = len(corpus.examples[0].pair)
    assert np.diff(corpus.examples[0].contexts).tolist() == [1] * count
    assert np.diff(bare.examples[0].contexts).tolist() == [0] * count
    assert bare.examples[0].pair.tolist() == corpus.examples[0].pair.tolist()
    assert bare.identity != corpus.identity


def test_contexts_from_another_dataset_beside_it(tmp_path: Path) -> None:
    """As retrieval rewrites them, without new tokens."""
    dataset, database = (make_tokens(str(tmp_path / task), task=task, units=1) for task in ("derain", "edits"))
    there = [row["pair"] for row in examples(database)]
    count = len(examples(dataset))
    write_contexts(dataset, "derain-000000", contexts_of(*([(pair, "edits", 1.0)] for pair in (there * count)[:count])))
    corpus = Corpus.open([dataset.url])
    assert [pairs.task for pairs in corpus.pairs] == ["derain", "edits"] and len(corpus.examples) == 1
    assert set(corpus.examples[0].context_dataset.tolist()) == {1}
    keys = keys_of(corpus, 1)
    assert [keys[pair] for pair in corpus.examples[0].context] == there


def test_contexts_from_another_dataset_of_the_same_task(tmp_path: Path) -> None:
    """The place tells them apart: a dev set's contexts are of the training set, and its own pairs stay its own."""
    dataset, database = (make_tokens(str(tmp_path / part / "derain"), units=1, pairs=3) for part in ("dev", "data"))
    rows, there = examples(dataset), [row["pair"] for row in examples(database)]
    places = ["../data/derain", None] * (len(rows) // 2)
    keys = [there[number] if number % 2 == 0 else nearest(row)["pair"] for number, row in enumerate(rows)]
    write_contexts(
        dataset,
        "derain-000000",
        contexts_of(*([(key, place, 1.0)] for key, place in zip(keys, places, strict=True))),
    )
    corpus = Corpus.open([dataset.url])
    assert [pairs.dataset.store.root for pairs in corpus.pairs] == [
        str(tmp_path / "dev/derain"),
        str(tmp_path / "data/derain"),
    ]
    assert corpus.examples[0].context_dataset.tolist() == [1, 0] * (len(rows) // 2)
    found = zip(corpus.examples[0].context_dataset, corpus.examples[0].context, strict=True)
    assert [corpus.pairs[of].key(pair) for of, pair in found] == keys


def test_a_recipe_mixes_by_its_weights(tmp_path: Path) -> None:
    for task in ("derain", "edits"):
        make_tokens(str(tmp_path / task), task=task, units=1)
    listed = [{"task": "derain", "path": "derain", "weight": 0.3}, {"task": "edits", "path": "edits", "weight": 0.1}]
    (tmp_path / "recipe.json").write_text(json.dumps({"recipe": "full_8m", "datasets": listed}))
    corpus = Corpus.open([], str(tmp_path / "recipe.json"))
    assert corpus.weights == pytest.approx((0.75, 0.25))
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match=r"recipe\.json is not a recipe"):
        Corpus.open([], str(tmp_path / "recipe.json"))


def test_sampling_sets_rates(tmp_path: Path) -> None:
    url = make_tokens(str(tmp_path / "derain"), units=1).url
    corpus = Corpus.open([url], sampling=["*/*/describe=0", "derain/reverse/*=0.5"])
    assert corpus.rates[0].tolist() == [1, 0, 0.5, 0.5]
    assert corpus.identity != Corpus.open([url]).identity
    for wrong in ("derain=1", "derain/*/*=x", "derain/*/*=-1"):
        with pytest.raises(ValueError, match="TASK/DIRECTION/KIND=RATE"):
            Corpus.open([url], sampling=[wrong])
    with pytest.raises(ValueError, match="leave it out"):
        Corpus.open([url], sampling=["*/*/*=0"])


def test_rates_of_a_task_are_those_of_what_was_made_again_of_its_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset by `xprompt retry` is called after its parent, and its configuration names the task of both."""
    urls = [make_tokens(str(tmp_path / name), task=name, units=1).url for name in ("derain", "derain-retry-1")]
    plan_of = Dataset.plan

    def plan(dataset: Dataset) -> Plan:
        found = plan_of(dataset)
        return replace(found, config={**found.config, "task": "derain"})

    monkeypatch.setattr(Dataset, "plan", plan)
    corpus = Corpus.open(urls, sampling=["derain/*/describe=0", "derain-retry-1/reverse/*=0.5"])
    assert [rates.tolist() for rates in corpus.rates] == [[1, 0, 1, 0], [1, 0, 0.5, 0.5]]
    assert len(set(corpus.labels)) == 8


def test_what_is_missing_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: `xprompt ls FOLDER` lists those of a folder"):
        Corpus.open([str(tmp_path / "nowhere")])
    dataset = make_tokens(str(tmp_path / "derain"), units=2)
    dataset.store.remove("tokens/derain-000001.parquet")
    with pytest.raises(ValueError, match="1 of 2 shards have no tokens: run make tokens TASK=derain"):
        Corpus.open([dataset.url])


def keys_of(corpus: Corpus, dataset: int) -> list[str]:
    return [corpus.pairs[dataset].key(pair) for pair in range(len(corpus.pairs[dataset].keys))]
