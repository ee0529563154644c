"""One rank of a node builds the arrays; what goes wrong there is one line for all."""

from __future__ import annotations

from typing import Any

import pytest
import torch.distributed as dist

from train.data.corpus import Corpus
from train.run.config import Config
from train.run.shared import open_corpus


def test_another_rank_maps_what_the_first_of_its_node_built(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 5 of two nodes of four: its first is rank 4, whose arrays lie elsewhere than the other node's."""
    built = Corpus.open(config.data, folder=f"{config.out}/there")
    said = [("", "elsewhere", built.identity), *[("", "", "")] * 3, ("", built.arrays, built.identity)]
    monkeypatch.setattr("train.data.corpus.build", None)
    corpus = _as_rank(5, 1, said, config, monkeypatch)
    assert corpus.arrays == built.arrays and corpus.identity == built.identity
    assert corpus.examples[0].context.tolist() == built.examples[0].context.tolist()
    with pytest.raises(ValueError, match="the nodes have 2 different states of the datasets: copy one to all"):
        _as_rank(5, 1, [("", "elsewhere", "other"), *said[1:]], config, monkeypatch)
    with pytest.raises(ValueError, match=r"^there is no dataset at x: `xprompt ls FOLDER` lists those of a folder$"):
        _as_rank(
            5,
            1,
            [("there is no dataset at x: `xprompt ls FOLDER` lists those of a folder", "", ""), *said[1:]],
            config,
            monkeypatch,
        )


def test_the_first_rank_builds_below_out_and_says_what_it_cannot(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = _as_rank(4, 0, [("", "", "")] * 4, config, monkeypatch)
    assert corpus.arrays.startswith(f"{config.out}/data/")
    monkeypatch.setattr("train.data.corpus.build", _full)
    with pytest.raises(ValueError, match="No space left on device"):
        _as_rank(4, 0, [("", "", "")] * 4, config, monkeypatch)


def _full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def _as_rank(rank: int, local: int, said: list[Any], config: Config, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """What a rank has, if the ranks before it say that."""

    def gather(found: list[Any], mine: Any) -> None:
        found[: rank + 1] = [*said[:rank], mine]

    monkeypatch.setenv("LOCAL_RANK", str(local))
    monkeypatch.setattr(dist, "get_rank", lambda: rank)
    monkeypatch.setattr(dist, "get_world_size", lambda: 8)
    monkeypatch.setattr(dist, "all_gather_object", gather)
    return open_corpus(config)
