"""What is held out: whole groups, no in-context example of which is shown on either side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from manifests.write.contexts import write_contexts
from tests.datasets import contexts_of, examples
from tests.train.make import make_tokens
from train.data.arrays import group_hashes
from train.data.corpus import Corpus
from train.data.held_out import is_held_out, split


def test_no_group_is_on_both_sides_and_contexts_are_trained_on(tmp_path: Path) -> None:
    """Each example with all other pairs of its shard as contexts, and one shard with those of another dataset."""
    dataset, other = (
        make_tokens(str(tmp_path / task), task=task, units=3, pairs=6, own_groups=True) for task in ("derain", "edits")
    )
    rows, others = examples(dataset), examples(other)
    group_of = {row["pair"]: row["source_group"] for row in [*rows, *others]}
    for name, _ in dataset.commits():
        of = [row for row in rows if row["shard"] == f"{name}.tar"]
        keys = list(dict.fromkeys(row["pair"] for row in of))
        elsewhere = [row["pair"] for row in others if row["shard"].endswith(f"{name[-6:]}.tar")]
        write_contexts(
            dataset,
            name,
            contexts_of(
                *(
                    [*((key, None, None) for key in keys if key != row["pair"]), (elsewhere[0], "edits", None)]
                    for row in of
                )
            ),
        )
    corpus = Corpus.open([dataset.url])
    parts = split(corpus, 0.3)
    sides = []
    for side in (parts.training, parts.validation):
        found, keys = side.examples[0], [[*map(pairs.key, range(len(pairs.keys)))] for pairs in side.pairs]
        shown = {keys[int(of)][int(pair)] for of, pair in zip(found.context_dataset, found.context, strict=True)}
        assert shown and not any(_is_held_out(group_of[key], 0.3) for key in shown)
        sides.append([keys[0][int(pair)] for pair in found.pair])
        assert len(found.contexts) == len(found.pair) + 1 and found.contexts[-1] == len(found.context)
    trained, held = ([group_of[key] for key in side] for side in sides)
    assert not set(trained) & set(held)
    assert set(held) == {group for group in group_of.values() if _is_held_out(group, 0.3)} & {
        row["source_group"] for row in rows
    }
    assert len(trained) + len(held) + parts.left_out == len(rows) and parts.left_out == 0
    assert parts.identity not in (corpus.identity, split(corpus, 0.31).identity)
    assert parts.training.labels == parts.validation.labels == corpus.labels
    # Contexts of an example keep their order, the best first.
    whole, part = corpus.examples[0], parts.training.examples[0]
    number = int(np.flatnonzero(np.isin(whole.pair, part.pair))[0])  # the first that is trained on
    all_of_it = slice(whole.contexts[number], whole.contexts[number + 1])
    first = whole.context[all_of_it], whole.context_dataset[all_of_it]
    kept = slice(part.contexts[0], part.contexts[1])
    wanted = [
        (int(pair), int(of))
        for pair, of in zip(*first, strict=True)
        if not _is_held_out(group_of[corpus.pairs[of].key(int(pair))], 0.3)
    ]
    assert list(zip(part.context[kept].tolist(), part.context_dataset[kept].tolist(), strict=True)) == wanted


def test_who_loses_all_contexts_is_on_neither_side(tmp_path: Path) -> None:
    """The only context of each is the pair before it in its shard; without contexts at all nobody loses any."""
    dataset = make_tokens(str(tmp_path / "derain"), units=3, pairs=6, own_groups=True)
    corpus = Corpus.open([dataset.url])
    parts = split(corpus, 0.3)
    assert (
        0
        < parts.left_out
        == len(corpus.examples[0].pair) - sum(len(side.examples[0].pair) for side in (parts.training, parts.validation))
    )
    for side in (parts.training, parts.validation):
        assert set(np.diff(side.examples[0].contexts).tolist()) == {1}
    assert split(corpus.without_contexts(), 0.3).left_out == 0


def test_a_group_stays_held_out_when_the_share_grows() -> None:
    groups = group_hashes(pa.array([f"picture {number}" for number in range(20_000)]))
    small, large = (is_held_out(groups, share) for share in (0.01, 0.02))
    assert (small <= large).all() and small.sum() < large.sum()
    assert small.mean() == pytest.approx(0.01, abs=0.003)


def test_a_share_that_leaves_a_side_empty_is_refused(tmp_path: Path) -> None:
    corpus = Corpus.open([make_tokens(str(tmp_path / "derain"), units=1).url])
    with pytest.raises(ValueError, match="holds out no group: raise it"):
        split(corpus, 1e-9)
    with pytest.raises(ValueError, match="holds out all of derain: lower it"):
        split(replace(corpus), 0.9999)


def _is_held_out(group: str, share: float) -> bool:
    return bool(is_held_out(group_hashes(pa.array([group])), share)[0])
