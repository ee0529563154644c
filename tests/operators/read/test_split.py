from __future__ import annotations

from operators.read.bundled import BundledPhotos
from operators.read.nyu_hdf5 import NyuFrames
from operators.read.split import TRAIN, split_of


def test_a_reader_without_splits_reads_what_is_trained_on() -> None:
    assert split_of(BundledPhotos()) == split_of(NyuFrames()) == TRAIN
    assert split_of(NyuFrames(split="test")) == "test"
