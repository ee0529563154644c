"""GPUs and their memory, against what the task's models need.

    python -m infra.doctor.gpus                 # what PyTorch sees here, as JSON

That is asked in a process of its own: a driver may hang so that only its end helps, and to look at a GPU's memory takes
some of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.doctor.asked import Asked
from infra.doctor.finding import Finding, fails, ok, skipped, warning
from infra.doctor.limits import TookTooLong, answer_of
from pipelines.report.memory import fit, fit_lines
from pipelines.run.stages import on_gpu

LOOK_S = 60.0
"""How long PyTorch has to find the GPUs: it is imported for that."""

_TAKEN = 0.1
"""A share of a GPU's memory that its driver and screens take; more is another program's."""

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as PyTorch sees it."""

    name: str
    gib: float
    free_gib: float


def gpus_here(limit_s: float = LOOK_S) -> tuple[list[Gpu], str]:
    """The GPUs that PyTorch sees on this machine, and why there are none. Raises TookTooLong."""
    try:
        seen = answer_of("infra.doctor.gpus", [], limit_s)
    except ValueError as error:
        return [], f"PyTorch cannot be asked: {error}"
    return [Gpu(**one) for one in seen["gpus"]], seen["why"]


def here(asked: Asked) -> Iterator[Finding]:
    """The GPUs of this machine, and whether the task's models fit into one. PyTorch is asked only if one is needed."""
    if needs_none(asked):
        yield ok("GPUs", f"{asked.name} needs none")
        return
    try:
        gpus, why = gpus_here()
    except TookTooLong:
        yield fails(
            "GPUs", f"the driver has not answered within {LOOK_S:g} s", "see to it (nvidia-smi, dmesg) or reboot first"
        )
        return
    if not gpus:
        yield without(asked, f"none that PyTorch sees ({why})")
        return
    least = min(gpus, key=lambda one: one.gib)
    kinds = ", ".join(sorted({f"{one.name} of {one.gib:.1f} GiB" for one in gpus}))
    yield fitting(asked, least.gib, f"{len(gpus)} x {kinds}")
    yield from taken(gpus)


def needs_none(asked: Asked) -> bool:
    """Whether nothing of the task runs on a GPU."""
    return asked.chain is not None and not any(map(on_gpu, asked.chain))


def taken(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    """The GPUs whose memory other programs have taken."""
    for number, one in enumerate(gpus):
        if one.free_gib < (1 - _TAKEN) * one.gib:
            yield warning(
                "GPUs",
                f"of GPU {number} {one.gib - one.free_gib:.1f} GiB are taken by other programs",
                "end them (nvidia-smi names them), or hide that GPU: CUDA_VISIBLE_DEVICES",
            )


def without(asked: Asked, text: str) -> Finding:
    """What it means that there are no GPUs."""
    chain = asked.chain
    if chain is None:
        return skipped("GPUs", f"{text}; what {asked.name} needs is not known: see DATA")
    if asked.values["models"] == "tiny":
        return ok("GPUs", f"{text}; the models of MODELS=tiny do without")
    way_out = "run it where there are some, or take PyTorch's build for CUDA (pip install torch)"
    return warning("GPUs", f"{text}: models run on CPUs, for which a pair takes minutes to hours", way_out)


def fitting(asked: Asked, gib: float, text: str) -> Finding:
    """Whether the task's models fit into a GPU of so much memory. `text` says which GPUs there are."""
    given, chain = asked.values["gpu_gib"], asked.chain
    if given is not None and given > gib:
        return fails(
            "GPUs",
            f"{text}: GPU_GIB={given:g} says more than the {gib:.1f} GiB that are there, and models would not fit",
            "leave GPU_GIB out, or name no more",
        )
    if chain is None:
        return skipped("GPUs", f"{text}; what {asked.name} needs is not known: see DATA")
    if asked.values["models"] == "tiny" and given is None:
        return ok("GPUs", f"{text}; the models of MODELS=tiny fit anywhere")
    found = fit(chain, given if given is not None else gib)
    assert found, "something runs on a GPU"
    if found.refusal:
        refusal, _, ways = found.refusal.rpartition(": ")
        return fails("GPUs", f"{text}: {refusal}", ways)
    return ok("GPUs", f"{text}: {'; '.join(line for head, line in fit_lines(found) if head)}")


def _look() -> dict[str, object]:
    try:
        import torch
    except ImportError as error:
        return {"gpus": [], "why": f"{error}"}
    if not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__} is built for CUDA {torch.version.cuda}"
        if torch.version.cuda is None:
            built = f"PyTorch {torch.__version__} is a build for CPUs"
        driver = "there is a driver of NVIDIA's" if _DRIVER.exists() else "there is no driver of NVIDIA's"
        return {"gpus": [], "why": f"{built}, {driver}"}
    gpus = []
    for number in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(number)
        properties = torch.cuda.get_device_properties(number)
        gpus.append({"name": properties.name, "gib": properties.total_memory / 2**30, "free_gib": free / 2**30})
    return {"gpus": gpus, "why": ""}


if __name__ == "__main__":
    print(json.dumps(_look()))
    sys.exit(0)
