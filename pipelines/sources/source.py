"""What a source is: the reader of a dataset's layout, and how a user gets the dataset."""

from __future__ import annotations

from dataclasses import dataclass

from operators.base import Reader


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as published: the reader of its layout, and what a user needs to know to get it."""

    reader: Reader
    layout: str
    """The folders that the reader expects below DATA, for messages and the README."""
    size: str
    obtain: str
    folder: str = ""
    """The dataset's folder below a data root that holds several datasets; "" if it is not one of those."""
    pairs: int | None = None
    """How many pairs the complete dataset has, where listing its files counts them."""
