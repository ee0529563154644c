from __future__ import annotations

from pathlib import Path

import pytest

from manifests.dataset import DatasetError
from manifests.images.phash import as_integer, phash
from operators.retrieve.pairs import KINDS, Pairs
from tests.operators.retrieve.test_contexts import make, planted


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    _, there = planted()
    dataset = make(tmp_path / "there", there, shard=2)
    pairs = Pairs.of(dataset, dataset.plan(), grouped=True)
    assert pairs.sources == [one.group for one in there]
    assert set(pairs.groups) == {"style Cubism"} and len(set(pairs.keys)) == len(there) == 6
    assert pairs.texts == ["remove the cat"] and pairs.text.tolist() == [0] * 6
    # The mask, which all of them have, is not among the hashes; the copy and the swapped one have the same files.
    by_hand = [[as_integer(digits) for data in (one.image, one.target) if (digits := phash(data))] for one in there]
    assert [some[:2] for some in pairs.hashes] == by_hand
    assert pairs.contents[0] == pairs.contents[1] and len(set(pairs.contents)) == 5
    assert [len(some) for some in pairs.pictures] == [1, 1, 1, 1, 1, 2]
    read = [dataset.shards.read(some[0].shard, some[0].offset, some[0].length) for some in pairs.pictures]
    assert read == [one.image for one in there]
    forward, reverse = KINDS.index(("forward", "generate")), KINDS.index(("reverse", "generate"))
    assert pairs.inputs[forward].tolist() == [1, 1, 1, 1, 1, 2] and pairs.inputs[reverse].tolist() == [1] * 6
    assert pairs.needs[[forward, reverse]].all() and pairs.needs.sum() == 12
    assert [part.pair.tolist() for part in pairs.parts] == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path / "there", planted()[1], shard=2)
    dataset.store.remove("manifest/there-000001.parquet")
    with pytest.raises(DatasetError, match="is unfinished"):
        Pairs.of(dataset, dataset.plan())
