"""Reading places of shards while other threads do so too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifests.images.pixels import encode_lossless
from tests.manifests.make import make_dataset, photo


def test_a_file_that_is_forgotten_while_it_is_read_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another thread has opened the same shard at the same time, or thirty-two others."""
    dataset = make_dataset(str(tmp_path), units=1, pairs=1)
    pair = next(dataset.pairs())
    pread = os.pread

    def after_forgetting(descriptor: int, length: int, offset: int) -> bytes:
        dataset.shards._opened.cache_clear()
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", after_forgetting)
    assert pair.image_bytes("target") == encode_lossless("target", photo(0)).data
