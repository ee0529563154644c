"""What a run tells while it works: of units that are made, and of painters. Whoever wants to hear gives a Watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.run.plan import Job

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
    lost: int = 0
    """How many pairs painters had in hand when they died."""
    gpu_s: float = 0.0
    """Seconds in which its painters had work on their GPUs."""
    held_s: float = 0.0
    """Seconds for which its painters were there, from when they were asked for."""
    idle_s: float = 0.0
    """Seconds of these in which a painter had no pair in hand."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Whom a run tells what it does. All are called in the run's own thread, between two decisions."""

    on_start: Callable[[int], None] = lambda workers: None
    """Told once how many workers there are."""
    on_made: Callable[[Job, Made], None] = lambda job, made: None
    """Told of each unit as it is made, in any order."""
    on_delivered: Callable[[Job, Delivered], None] = lambda job, delivered: None
    """Told of each group of pairs that a painter has done."""
    on_tick: Callable[[Sequence[Painting]], None] = lambda paintings: None
    """Told about every second how far painters are."""
