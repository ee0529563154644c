"""One corpus for all ranks of a node: the first of them builds its arrays, the others map what it built."""

from __future__ import annotations

import os
from pathlib import Path

import torch.distributed as dist

from train.data.corpus import Corpus
from train.run.config import Config

ARRAYS = "data"
"""Folder below OUT. A run that goes on finds its arrays there, if its datasets have not changed."""


def open_corpus(config: Config) -> Corpus:
    """The corpus of a run. All ranks call it, in a process group in which a node's ranks are successive.

    Raises ValueError, the same one line on all ranks, if there is nothing to train on, or nodes have different data.
    """
    rank, first = dist.get_rank(), dist.get_rank() - int(os.environ.get("LOCAL_RANK", "0"))
    corpus, error = None, ""
    if rank == first:
        try:
            corpus = _open(config, folder=str(Path(config.out) / ARRAYS))
        except (ValueError, OSError, ImportError) as raised:
            error = " ".join(str(raised).split())
    mine = (error, corpus.arrays if corpus else "", corpus.identity if corpus else "")
    said: list[tuple[str, str, str]] = [mine] * dist.get_world_size()
    dist.all_gather_object(said, mine)
    for error, _, _ in said:
        if error:
            raise ValueError(error)
    if len(identities := {identity for _, _, identity in said if identity}) > 1:
        raise ValueError(f"the nodes have {len(identities)} different states of the datasets: copy one to all of them")
    return corpus or _open(config, built=said[first][1])


def _open(config: Config, *, folder: str = "", built: str = "") -> Corpus:
    corpus = Corpus.open(config.data, config.recipe, config.sampling, folder=folder, built=built)
    return corpus if config.contexts else corpus.without_contexts()
