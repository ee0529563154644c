"""Cuts a task's chain into stages: runs of links that one process goes through with all of its models on one GPU.

One stage is best: a pair is then painted and judged by one process, which loads its models once. Where all models do
not fit into a GPU's memory there are several, gone through in waves: first all pairs by the first stage, then by the
second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from operators.base import Limited, Link, LoadsCheckpoints, ModelOperator, TakesTurns
from operators.models.table import Part, parts_of
from operators.option import options_of
from operators.vlm.client import LOCAL, asks

CUDA_GIB = 0.5
"""Memory of a GPU that a process takes before it loads anything: CUDA's context and kernels. Assumed, not measured."""

_LOCAL_VLM = ("qwen2-vl",)
"""The checkpoint of VLM=local."""

_ASKING_GIB = 2.0
"""Memory in which Qwen2-VL answers about two images of 1,024 px: its cache is 57 KB a token (28 layers, 4 heads of 128
for keys and values each, bfloat16), 0.2 GiB; what its vision tower takes is assumed, not measured."""

_STEP = 0.05
"""Shares of a GPU are rounded up to multiples of it."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the links of a stage need of a GPU's memory."""

    parts: tuple[Part, ...] = ()
    """The networks that they load, each once."""
    working_gib: float = 0.0
    """What the one of them that needs most needs beside the weights: they work one after the other."""
    unknown: float = 0.0
    """The share of a GPU, at most 1, of the links that do not say what they load (operators.base.LoadsCheckpoints)."""

    @property
    def gib(self) -> float:
        """Memory in GiB of what is known."""
        return sum(part.gib for part in self.parts) + self.working_gib + CUDA_GIB

    def share(self, gpu_gib: float) -> float:
        """The share of a GPU's memory that is needed; above 1 where it does not fit."""
        known = self.gib / gpu_gib if self.parts or not self.unknown else 0.0
        return known + self.unknown


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The links of a chain from `start` up to, but not including, `stop`; the last one runs on a GPU."""

    start: int
    stop: int
    gpus: float
    """Share of a GPU that a process of the stage is given, where the cluster has some."""
    need: Need = field(default_factory=Need)
    """What the process needs of the GPU's memory."""


def on_gpu(link: Link | Limited) -> bool:
    """Whether a link runs a model on a GPU, where there is one: its own, or a vision-language model of this process."""
    return _asks_here(link) or (isinstance(link, ModelOperator) and link.gpus > 0)


def as_fits(link: Link, gpu_gib: float | None) -> Link:
    """The link as a GPU of that memory can run it: it takes turns if its models fit one after the other alone.

    A run changes all links so before its chain is cut by `gpu_stages`. `gpu_gib` is None where anything fits.
    """
    return link.taking_turns() if isinstance(link, TakesTurns) and not _fit([link], gpu_gib) else link


def gpu_stages(chain: Sequence[Link], gpu_gib: float | None) -> tuple[Stage, ...]:
    """The stages of a chain, as few as fit into GPUs of that memory; () if nothing of it runs on a GPU.

    The first begins with the first link, and each ends with a link that runs on a GPU: what is before such a link on
    CPUs belongs to its stage, what is after the last one to none. `gpu_gib` is None where the memory is not known, or
    not to be counted: then there is one stage.

    Raises ValueError, one line, for a link that does not fit by itself.
    """
    groups: list[list[int]] = []  # the places in the chain of the links that run on a GPU, by stage
    for place, link in enumerate(chain):
        if not on_gpu(link):
            continue
        if gpu_gib is not None and not _fit([link], gpu_gib):
            raise ValueError(_refusal(link, gpu_gib))
        if groups and _fit([*(chain[other] for other in groups[-1]), link], gpu_gib):
            groups[-1].append(place)
        else:
            groups.append([place])
    starts = [0, *(group[-1] + 1 for group in groups)]
    return tuple(
        _stage(start, group[-1] + 1, [chain[place] for place in group], gpu_gib)
        for start, group in zip(starts, groups, strict=False)  # the last start is that of the links which no stage has
    )


def need_of(links: Sequence[Link]) -> Need:
    """What links that run in one process need of a GPU together."""
    saying = [link for link in links if isinstance(link, LoadsCheckpoints)]
    roles = [role for link in saying for role in link.loads]
    working = [link.working_gib for link in saying]
    if any(map(_asks_here, links)):
        roles += _LOCAL_VLM
        working.append(_ASKING_GIB)
    silent = [link.gpus for link in links if isinstance(link, ModelOperator) and not isinstance(link, LoadsCheckpoints)]
    return Need(parts=parts_of(roles), working_gib=max(working, default=0.0), unknown=min(1.0, sum(silent)))


def _fit(links: Sequence[Link], gpu_gib: float | None) -> bool:
    return gpu_gib is None or need_of(links).share(gpu_gib) <= 1


def _stage(start: int, stop: int, links: Sequence[Link], gpu_gib: float | None) -> Stage:
    """The stage whose links on a GPU are `links`.

    Where the memory is known its share of a GPU is that of the memory which it needs, or that which one of them keeps
    busy, if this is more. Else it is the sum of what they keep busy, at most 1.
    """
    need = need_of(links)
    busy = [link.gpus for link in links if isinstance(link, ModelOperator)]
    busy += [link.vlm.gpus for link in links if asks(link) and link.vlm and link.vlm.gpus][:1]  # one model for all
    if gpu_gib is None:
        return Stage(start=start, stop=stop, gpus=min(1.0, sum(busy)), need=need)
    steps = math.ceil(round(max(need.share(gpu_gib), *busy) / _STEP, 6))  # rounded: 0.15 / 0.05 is above 3
    return Stage(start=start, stop=stop, gpus=min(1.0, round(steps * _STEP, 2)), need=need)


def _asks_here(link: Link | Limited) -> bool:
    return asks(link) and link.vlm is not None and link.vlm.is_local


def _refusal(link: Link, gpu_gib: float) -> str:
    need = need_of([link])
    weights = ", ".join(f"{part.name} {part.gib:.1f}" for part in need.parts)
    ways = ["take GPUs with more memory"]
    if any(one.name == "generator" and "sd15" in one.choices for _, one in options_of(link)):
        ways.append("the smaller models of GENERATOR=sd15")
    if _asks_here(link):
        ways.append(f"a server in the place of VLM={LOCAL}")
    return (
        f"{link.name} needs {need.gib:.1f} GiB of a GPU ({weights}, to work in {need.working_gib:.1f}, CUDA "
        f"{CUDA_GIB}), and one has {gpu_gib:g}: {', or '.join(ways)}"
    )
