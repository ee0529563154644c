"""How the models of a task fit into the memory of a GPU, as a plan tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from operators.base import Link
from pipelines.run.stages import CUDA_GIB, Stage, as_fits, gpu_stages, on_gpu

PLAN_GPU_GIB = 80.0
"""Memory of the GPU that a plan is for without GPU_GIB: an A100's, as it is sold. It shows its processes 79.1."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a chain fits into GPUs of some memory: by its stages, or not at all."""

    gpu_gib: float
    names: tuple[tuple[str, ...], ...] = ()
    """The links of each stage that run on a GPU, by name; of one that takes turns it is said."""
    stages: tuple[Stage, ...] = ()
    refusal: str = ""
    """Why a run would be refused, one line; "" if it would not."""


def fit(chain: Sequence[Link], gpu_gib: float) -> Fit | None:
    """How a chain fits into GPUs of that memory; None if nothing of it runs on a GPU."""
    fitting = [as_fits(link, gpu_gib) for link in chain]
    try:
        stages = gpu_stages(fitting, gpu_gib)
    except ValueError as error:
        return Fit(gpu_gib=gpu_gib, refusal=str(error))
    if not stages:
        return None
    names = [
        link.name if link is before else f"{link.name} (its models in turns)"
        for link, before in zip(fitting, chain, strict=True)
    ]
    shown = tuple(
        tuple(names[place] for place in range(one.start, one.stop) if on_gpu(fitting[place])) for one in stages
    )
    return Fit(gpu_gib=gpu_gib, names=shown, stages=stages)


def fit_lines(found: Fit) -> list[tuple[str, str]]:
    """The lines of one task's plan, head and text: what each stage needs, network by network."""
    if found.refusal:
        return [("GPU memory", f"a run would be refused: {found.refusal}")]
    lines = []
    for number, (names, stage) in enumerate(zip(found.names, found.stages, strict=True), 1):
        wave = f"wave {number} of {len(found.stages)}: " if len(found.stages) > 1 else ""
        lines.append(("GPU memory", f"{wave}{_told(stage, found.gpu_gib)}, for {', '.join(names)}"))
        lines += [("", f"{gib:5.1f} {name}") for name, gib in _items(stage)]
    return lines


def fit_table(found: Mapping[str, Fit]) -> Table:
    """The table of a recipe's plan, a row for each stage of each task."""
    table = Table("task", "on a GPU", "its memory", box=None)
    for task, one in found.items():
        if one.refusal:
            table.add_row(task, "refused", one.refusal)
        for names, stage in zip(one.names, one.stages, strict=True):
            table.add_row(task, ", ".join(names), _told(stage, one.gpu_gib))
            task = ""
    return table


def _told(stage: Stage, gpu_gib: float) -> str:
    share = f"{stage.gpus:g} of a GPU" if stage.gpus < 1 else "a whole GPU"
    return f"{stage.need.gib:.1f} of {gpu_gib:g} GiB, {share}"


def _items(stage: Stage) -> list[tuple[str, float]]:
    """What the memory of a stage is for, each with its GiB."""
    parts = [(part.name, part.gib) for part in stage.need.parts]
    return [*parts, ("to work in (not measured)", stage.need.working_gib), ("CUDA (assumed)", CUDA_GIB)]
