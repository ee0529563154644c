"""What a source is: the reader of a dataset's layout, and how a user gets the dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace

from operators.base import Reader
from operators.read.split import split_of


@dataclass(frozen=True, kw_only=True)
class Split:
    """A test split of a source, as published: what evaluation reads and no training does."""

    reader: Reader
    """It has the split's name."""
    layout: str
    size: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as published: the reader of its layout, and what a user needs to know to get it."""

    reader: Reader
    layout: str
    """The folders that the reader expects below DATA, for messages and the documents."""
    size: str
    obtain: str
    folder: str = ""
    """The dataset's folder below a data root that holds several datasets; "" if it is not one of those."""
    pairs: int | None = None
    """How many pairs the complete dataset has, where listing its files counts them."""
    tests: tuple[Split, ...] = ()
    """The test splits that are published in this layout."""

    seen: str = ""
    """What was found in DATA, and what of it was taken for what, in words; "" until it is located."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that can be read."""
        return (split_of(self.reader), *(split_of(test.reader) for test in self.tests))

    def of(self, split: str) -> Source | None:
        """The source with the reader of one of its splits; None if it has none of that name."""
        if split_of(self.reader) == split:
            return self
        found = next((one for one in self.tests if split_of(one.reader) == split), None)
        if not found:
            return None
        return replace(self, reader=found.reader, layout=found.layout, size=found.size, pairs=None)
