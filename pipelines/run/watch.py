"""What a run tells while it works: of units that are made, and of painters. Whoever wants to hear gives a Watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.waits import Waits

if TYPE_CHECKING:
    from pipelines.run.made import Made
    from pipelines.run.painter import Delivered


@dataclass(kw_only=True)
class Painting:
    """What the painters of one stage have done so far."""

    job: Job
    operators: tuple[str, ...]
    """The names of the stage's operators that run models."""
    gpus: float
    """Share of a GPU that each painter has; 0 where the cluster has none."""
    pairs: int = 0
    pairs_left: int = 0
    painters: int = 0
    """How many painters are at work now."""
    starting: int = 0
    """How many painters have been asked for and are not there yet."""
    lost: int = 0
    """How many pairs painters had in hand when they died."""
    pictures: int = 0
    """How many pictures of these pairs were painted: what had been kept before does not count."""
    places: int = 0
    """How many places there were in the batches that its models were given, where they are given several at once."""
    own: int = 0
    """How many of these places held something of their own, and not a copy that fills the batch up."""
    held_s: float = 0.0
    """Seconds for which its painters were there, from when they were asked for. The others are parts of it."""
    gpu_s: float = 0.0
    """Seconds in which its painters' models were at work."""
    starting_s: float = 0.0
    """Seconds in which painters waited for a GPU, and for their process."""
    loading_s: float = 0.0
    """Seconds in which models were loaded."""
    answers_s: float = 0.0
    """Seconds in which a GPU waited for answers of a vision-language model."""
    disk_s: float = 0.0
    """Seconds in which a GPU waited for pairs to be read, worked on by a CPU, or stored."""
    idle_s: float = 0.0
    """Seconds in which a painter had no pair in hand."""

    @property
    def up_s(self) -> float:
        """Seconds for which its painters could work."""
        return self.held_s - self.starting_s

    def add(self, spent: Spent, waits: Waits) -> None:
        """Count what was done of a group of pairs, and what its painter waited for."""
        for name in self.operators:
            self.gpu_s += spent.seconds.get(name, 0.0) - spent.loading_s[name]
            self.loading_s += spent.loading_s[name]
            self.pictures += spent.pictures[name]
            self.places += spent.places[name]
            self.own += spent.own[name]
        self.answers_s += waits.answers_s
        self.disk_s += waits.disk_s


@dataclass(frozen=True, kw_only=True)
class Units:
    """How far the units of one dataset are."""

    job: Job
    done: int
    """How many are committed, those of earlier runs among them."""
    running: int
    queued: int
    failed: int
    """How many this run has given up."""
    oldest_start_s: float
    """When the one that has been running longest was begun, in seconds since 1970; 0 if none is running."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Whom a run tells what it does. All are called in the run's own thread, between two decisions."""

    on_start: Callable[[int], None] = lambda workers: None
    """Told once how many workers there are."""
    on_made: Callable[[Job, Made], None] = lambda job, made: None
    """Told of each unit as it is made, in any order."""
    on_delivered: Callable[[Job, Delivered], None] = lambda job, delivered: None
    """Told of each group of pairs that a painter has done."""
    on_stall: Callable[[str], None] = lambda text: None
    """Told, one line, that nothing has come back for a while, and of processes that were stopped and are ended."""
    on_tick: Callable[[Sequence[Painting]], None] = lambda paintings: None
    """Told about every second how far painters are."""
    on_units: Callable[[Sequence[Units], float], None] = lambda units, gpus: None
    """Told about every second how far the datasets' units are, and how many GPUs there are."""
