"""Splits of sources: what is trained on, and what is kept to test with and never trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRAIN = "train"
"""The split that every source is read in unless another one is asked for."""


def split_of(reader: Any) -> str:
    """The split that a reader reads: its field `split`, or TRAIN for a reader that has no such field."""
    return str(getattr(reader, "split", TRAIN))


def caption_params(texts: Mapping[str, str]) -> dict[str, str]:
    """Parameters of the step "read" by which a manifest keeps a pair's captions before and after an edit.

    There are none unless both captions are there. Training data has no such step: evaluation alone needs them.
    """
    names = ("source_caption", "target_caption")
    return {name: texts[name] for name in names} if all(texts.get(name) for name in names) else {}
