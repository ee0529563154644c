"""A dataset directory in PyTorch: items, DataLoader workers, shares of ranks, and resuming at the next example."""

from __future__ import annotations

import itertools
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from manifests import Dataset
from tests.manifests.make import photo

Name = tuple[str, str, str]


def name(item: dict[str, Any]) -> Name:
    return item["pair"], item["direction"], item["kind"]


@pytest.fixture(scope="module")
def names(sound: Path) -> list[Name]:
    """All examples, from the manifest."""
    return [name(row) for row in Dataset(sound).rows(["pair", "direction", "kind"])]


def test_an_item(sound: Path, names: list[Name]) -> None:
    examples = Dataset(sound).to_torch()
    assert len(examples) == 48
    item = examples[6]  # the second pair's, forward describe
    assert name(item) == names[6] and "output" not in item
    assert (item["text"], len(item["inputs"])) == ("The rain is gone.", 2)
    assert torch.equal(item["inputs"][1], torch.tensor(photo(1)).permute(2, 0, 1))
    assert item["context"]["pair"] == names[0][0] and "context" not in item["context"]
    assert torch.equal(examples[4]["output"], torch.tensor(photo(1)).permute(2, 0, 1))
    with pytest.raises(IndexError):
        examples[48]


WITH_WORKERS = """
import json, sys
from torch.utils.data import DataLoader
from manifests import Dataset
from tests.manifests.read.test_torch_datasets import name
dataset = Dataset(sys.argv[1])
for examples in (dataset.to_torch(transform=name), dataset.to_torch(iterable=True, shuffle=True, transform=name)):
    print(json.dumps(list(DataLoader(examples, batch_size=None, num_workers=2))))
"""


def test_two_workers_give_all_of_it(sound: Path, names: list[Name]) -> None:
    """In a process of its own: workers are forked, and another test may have connected this one to a Ray."""
    command = [sys.executable, "-c", WITH_WORKERS, str(sound)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    mapped, streamed = ([tuple(seen) for seen in json.loads(line)] for line in done.stdout.splitlines())
    assert mapped == names
    assert sorted(streamed) == sorted(names) and streamed != names


def test_they_are_pickled(sound: Path, names: list[Name]) -> None:
    mapped = Dataset(sound).to_torch(transform=name)
    assert mapped[3] == pickle.loads(pickle.dumps(mapped))[3] == names[3]
    streamed = Dataset(sound).to_torch(iterable=True, transform=name)
    assert list(pickle.loads(pickle.dumps(streamed))) == names


def test_ranks_share_an_epoch(sound: Path, names: list[Name]) -> None:
    shares = []
    for rank in range(5):
        stream = Dataset(sound).to_torch(iterable=True, shuffle=True, rank=rank, world_size=5, transform=name)
        shares.append(list(stream))
        assert len(stream) == len(shares[-1])
    assert sorted(itertools.chain.from_iterable(shares)) == sorted(names)
    assert {len(share) for share in shares} == {9, 10}


def test_epochs_and_seeds_differ_and_repeat(sound: Path, names: list[Name]) -> None:
    stream = Dataset(sound).to_torch(iterable=True, shuffle=True, seed=3, transform=name)
    first = list(stream)
    assert list(stream) == first != names
    stream.set_epoch(1)
    assert list(stream) != first
    assert list(Dataset(sound).to_torch(iterable=True, transform=name)) == names


@pytest.mark.parametrize("taken", [0, 1, 17, 47, 48])
def test_it_goes_on_with_the_next_example(sound: Path, taken: int) -> None:
    stream = Dataset(sound).to_torch(iterable=True, shuffle=True, seed=1, transform=name)
    stream.set_epoch(2)
    whole = list(stream)
    going = iter(stream)
    for _ in range(taken):
        next(going)
    fresh = Dataset(sound).to_torch(iterable=True, shuffle=True, seed=1, transform=name)
    state = stream.state_dict() if taken else {**stream.state_dict(), "position": 0}
    fresh.load_state_dict(state)
    fresh.set_epoch(2)
    assert list(fresh) == whole[taken:]
    assert list(fresh) == whole  # the state holds for one iteration


def test_a_state_of_another_order_is_refused(sound: Path) -> None:
    state = Dataset(sound).to_torch(iterable=True, shuffle=True, seed=1).state_dict()
    with pytest.raises(ValueError, match="seed 1 there, 2 now"):
        Dataset(sound).to_torch(iterable=True, shuffle=True, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="rank 2 is not one of 0 to 1"):
        Dataset(sound).to_torch(iterable=True, rank=2, world_size=2)
