"""Cuts a chain into stages: slices that one process goes through with all of its models loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from operators.base import Link, ModelOperator
from operators.vlm.client import Asks


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The links `start` to `stop` of a chain, the last of which runs models on a GPU."""

    start: int
    stop: int
    gpus: float
    """Share of a GPU that a process of it needs, where there are GPUs."""


def needs_gpu(link: Link) -> bool:
    """Whether a link of a chain runs models on a GPU, where there is one."""
    local = isinstance(link, Asks) and link.vlm is not None and link.vlm.is_local
    return local or (isinstance(link, ModelOperator) and link.gpus > 0)


def gpu_stages(chain: Sequence[Link], gpu_gib: float | None) -> tuple[Stage, ...]:
    """The stages of a chain up to its last GPU link; what follows them is done on CPUs."""
    stops = [place + 1 for place, link in enumerate(chain) if needs_gpu(link)]
    if not stops:
        return ()
    shares = [link.gpus if isinstance(link, ModelOperator) else 0.5 for link in chain if needs_gpu(link)]
    return (Stage(start=0, stop=stops[-1], gpus=min(1.0, sum(shares))),)
