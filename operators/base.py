"""What the engine asks of readers and operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol, Self

from manifests.schema import Item, Pair
from operators.files import SourceFile


class Operator(Protocol):
    """One step on pairs. Implementations are frozen dataclasses: their fields go into the fingerprint."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the same input and parameters would give other output: it is part of the fingerprint."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        """The pair with something added. `seed` is derived from the run's seed, the pair's key and `name`.

        Raises Reject for a pair that is not to be kept; any other exception rejects the pair too, as "error".
        """
        ...


class Reader(Protocol):
    """One layout of a source. Implementations are frozen dataclasses; `source` and `licence` go into provenance."""

    version: ClassVar[int]
    paired: ClassVar[bool]
    """True if items come with input and target, False if only with a target whose input is to be synthesised."""

    contiguous: ClassVar[bool]
    """True if neighbouring items are cheap to read together (rows of a file, members of a tar): units are then slices
    of the listing's order, not samples of it."""

    @property
    def source(self) -> str: ...

    @property
    def licence(self) -> str: ...

    @property
    def root(self) -> str:
        """The folder or fsspec URL that items' files are relative to."""
        ...

    def listing(self) -> Sequence[SourceFile]:
        """The files below the root, by path."""
        ...

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        """This reader bound to a data root that has its layout, else None. `listing`: all files below the root.

        Raises ValueError if the layout is there in part, naming what is missing.
        """
        ...

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        """Everything the source holds, in a fixed order, from the listing of its root alone: no pixels are read."""
        ...

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        """Role -> ending, without a dot, of the members that store it."""
        ...

    def read(self, item: Item, task: str) -> Pair:
        """Read one item, its bytes as they are. Raises Reject for one that cannot become a pair."""
        ...
