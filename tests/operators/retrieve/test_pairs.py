from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from manifests.dataset import DatasetError
from manifests.images.phash import phash
from operators.retrieve.pairs import KINDS, Pairs
from tests.operators.retrieve.test_contexts import make, planted


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    _, there = planted()
    dataset = make(tmp_path / "there", there, shard=2)
    pairs = Pairs.of(dataset, dataset.plan(), grouped=True)
    assert pairs.sources == [one.group for one in there]
    assert set(pairs.groups) == {"style Cubism"} and len(set(pairs.keys)) == len(there) == 10
    assert pairs.texts == ["remove the cat"] and pairs.text.tolist() == [0] * 10
    # The mask, which all of them have, is not among the hashes; the copy and the swapped one have the same files.
    # Each is an output, be it of the reverse example: a flat one is known by its sha256.
    looks = [[phash(data) or sha256(data).hexdigest() for data in (one.image, one.target)] for one in there]
    by_hand = [[int(digits[:16], 16) for digits in some] for some in looks]
    assert [some[:2] for some in pairs.hashes] == by_hand
    assert pairs.contents[0] == pairs.contents[1] and len(set(pairs.contents)) == 9
    assert [len(some) for some in pairs.pictures] == [1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    read = [dataset.shards.read(some[0].shard, some[0].offset, some[0].length) for some in pairs.pictures]
    assert read == [one.image for one in there]
    forward, reverse = KINDS.index(("forward", "generate")), KINDS.index(("reverse", "generate"))
    assert (
        pairs.inputs[forward].tolist() == [1, 1, 1, 1, 1, 2, 1, 1, 1, 1] and pairs.inputs[reverse].tolist() == [1] * 10
    )
    assert pairs.needs[[forward, reverse]].all() and pairs.needs.sum() == 20
    assert [part.pair.tolist() for part in pairs.parts] == [[n, n, n + 1, n + 1] for n in range(0, 10, 2)]


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path / "there", planted()[1], shard=2)
    dataset.store.remove("manifest/there-000001.parquet")
    with pytest.raises(DatasetError, match="is unfinished"):
        Pairs.of(dataset, dataset.plan())
