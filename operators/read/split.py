"""Splits of sources: what is trained on, and what is kept to test with and never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TRAIN = "train"
"""The split that every source is read in unless another one is asked for."""


def split_of(reader: Any) -> str:
    """The split that a reader reads: its field `split`, or TRAIN for a reader that has no such field."""
    return str(getattr(reader, "split", TRAIN))


def ends_in(root: str, path: str) -> bool:
    """Whether a root is a folder of that path, in upper or lower case."""
    return f"/{root.rstrip('/')}".lower().endswith(f"/{path}".lower())


def places_below(root: str, nested: Sequence[str]) -> list[str]:
    """Where below a data root a split may be: in the folders of `nested`, or in what is left of the path of one that
    the root is the beginning of. Of "Real_captured/Test" that is "Test" below .../Real_captured, and "", the root
    itself, for .../Real_captured/Test.

    So a split whose `nested` has no "" is never found in a folder that has not its name: without names a folder of
    training pairs looks like one of test pairs.
    """
    left = []
    for path in nested:
        folders = path.split("/")
        for count in range(len(folders), 0, -1):
            if ends_in(root, "/".join(folders[:count])):
                left.append("/".join(folders[count:]))
    return list(dict.fromkeys((*nested, *left)))


def caption_params(texts: Mapping[str, str]) -> dict[str, str]:
    """Parameters of the step "read" by which a manifest keeps a pair's captions before and after an edit.

    There are none unless both captions are there. Training data has no such step: evaluation alone needs them.
    """
    names = ("source_caption", "target_caption")
    return {name: texts[name] for name in names} if all(texts.get(name) for name in names) else {}
