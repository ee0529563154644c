"""Splits of sources: what is trained on, and what is kept to test with and never trained on."""

from __future__ import annotations

from typing import Any

TRAIN = "train"
"""The split that every source is read in unless another one is asked for."""


def split_of(reader: Any) -> str:
    """The split that a reader reads: its field `split`, or TRAIN for a reader that has no such field."""
    return str(getattr(reader, "split", TRAIN))
