"""What the engine asks of readers and operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, runtime_checkable

from manifests.schema import Direction, Item, Kind, Pair, Reject
from operators.read.files import SourceFile


class Operator(Protocol):
    """One step on pairs. Implementations are frozen dataclasses: their fields go into the fingerprint."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the same input and parameters would give other output: this number is in the fingerprint."""

    def __call__(self, pair: Pair, seed: int) -> Pair:
        """The pair with something added. `seed` is derived from the run's seed, the pair's key and `name`.

        Raises Reject for a pair that is not to be kept; any other exception rejects the pair too, as "error".
        """
        ...


@runtime_checkable
class BatchOperator(Protocol):
    """An operator that is faster on several pairs at once: a model, or a server that answers many requests together.

    What becomes of a pair must not depend on the others of its batch, nor on the batch's size: randomness comes from
    the pair's own seed.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    def batch_size(self) -> int:
        """The most pairs that `many` is given. Not part of the fingerprint."""
        ...

    def many(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> Sequence[Pair | Reject]:
        """One result a pair, in order: the pair with something added, or a Reject, returned and not raised.

        OSError, MemoryError and StopRun end the unit. After any other exception the engine tries the pairs one by one,
        so that the culprit alone is rejected.
        """
        ...


Link = Operator | BatchOperator
"""What a task's chain is made of."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an operator may know of the run that its chain is used in."""

    paired: bool
    """Whether the source brings input and target, or a target alone."""
    examples: tuple[tuple[Direction, Kind], ...]
    """The examples that each pair is to have in the end."""
    chain: tuple[Link, ...]
    """The task's whole chain."""


@runtime_checkable
class Fitted(Protocol):
    """An operator that is not needed in every run of a task, or that needs to know the run."""

    def fitted(self, setting: Setting) -> Self | None:
        """The operator as this run needs it, or None if the run does not need it."""
        ...


class OnlyUnpaired:
    """Base of operators for sources that bring no input: they make it, or say how it was made."""

    def fitted(self, setting: Setting) -> Self | None:
        return None if setting.paired else self


@runtime_checkable
class SeededByGroup(Protocol):
    """An operator that draws the same for all pairs of a context group: its seed is derived from the group's name."""

    seeded_by_group: ClassVar[bool]


@runtime_checkable
class ModelOperator(Protocol):
    """An operator, of either kind, that runs models of its own."""

    @property
    def gpus(self) -> float:
        """Share of a GPU that it keeps busy, where the cluster has some; 0 if it runs on CPUs."""
        ...

    @property
    def gpu_s(self) -> float:
        """Seconds of an A100 that a pair takes at the most: assumed for plans, not measured. Time-outs are derived from
        it too (operators/timeouts.py)."""
        ...

    def bound(self, models: str | None) -> Self:
        """The operator with its checkpoints (operators/models/checkpoints.py). Raises ValueError, one line, if one is
        missing.

        Folders go into fields with metadata {"location": True}, which are no part of the fingerprint; what
        `checkpoints.identity` says of them goes into fields that are.
        """
        ...


@runtime_checkable
class Limited(Protocol):
    """An operator that states how long a pair may take at it, where what operators/timeouts.py derives does not fit."""

    @property
    def timeout_s(self) -> float:
        """Seconds that a pair may take at the most, the loading of models before it included: after them its process
        counts as hanging, and is ended. Not part of the fingerprint."""
        ...


@runtime_checkable
class LoadsCheckpoints(Protocol):
    """An operator that says what it needs of a GPU's memory.

    One that does not is taken to need that share of the memory which `gpus` is.
    """

    @property
    def loads(self) -> tuple[str, ...]:
        """The checkpoints that it has on a GPU at a time, by their roles in operators/models/table.py."""
        ...

    @property
    def working_gib(self) -> float:
        """GiB that it needs beside the weights while it works."""
        ...


@runtime_checkable
class TakesTurns(Protocol):
    """An operator that can have one after the other of its models on a GPU, where it is too small for all of them."""

    def taking_turns(self) -> Self:
        """The operator that does: it then loads less at a time, takes longer, and makes the same."""
        ...


@runtime_checkable
class ShowsRejects(Protocol):
    """An operator that says whether small pictures are to be kept of the pairs that it rejects.

    Of others they are kept where a Reject has scores. A gate may say yes for those without; what keeps images out on
    purpose says no.
    """

    shows_rejects: ClassVar[bool]


@runtime_checkable
class Judge(Protocol):
    """An operator that rejects pairs by their scores."""

    def lenient(self) -> Self:
        """The operator that stores the scores and keeps the pair."""
        ...


class StopRun(Exception):
    """Raised by an operator for what no other try, pair or unit can cure, such as a refused key.

    The run ends at once with the message, which is one line.
    """


@runtime_checkable
class Selective(Protocol):
    """A reader that leaves out entries of its source which, by the source's own account, are no items."""

    def left_out(self, listing: Sequence[SourceFile]) -> Mapping[str, int]:
        """How many entries are left out, by reason."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A reader of tables, which says what it takes their columns for."""

    def told(self, listing: Sequence[SourceFile]) -> str:
        """Which column is taken for what, and which are not read, in one line, by the first file."""
        ...


@runtime_checkable
class LicensedByItem(Protocol):
    """A reader whose items may have licences of their own: `Pair.licence` says more than `Reader.licence` does."""

    @property
    def licensed_by_item(self) -> bool: ...


@runtime_checkable
class OfFile(Protocol):
    """A reader of which DATA may be a file, in the place of the folder that it lies in."""

    def of_file(self, name: str) -> Self:
        """The reader that reads this file of its root alone, or the files that a shell pattern names."""
        ...


@runtime_checkable
class InBlocks(Protocol):
    """A contiguous reader of whose items so many in a row belong together: a shard has all of them or none."""

    @property
    def block(self) -> int: ...


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
