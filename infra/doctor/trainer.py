"""What a preset of the trainer needs: memory of each GPU, the model to start from, a port.

    python -m infra.doctor.trainer 7b-paper 8           # bytes that a step takes on one of 8 GPUs

That is asked in a process of its own, for it imports PyTorch and may be given up.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.doctor.asked import Asked
from infra.doctor.finding import GIB, Finding, fails, ok, skipped, warning
from infra.doctor.gpus import LOOK_S, gpus_here
from infra.doctor.limits import TookTooLong, answer_of
from infra.doctor.machine import port
from pipelines.run.stages import CUDA_GIB
from train.run.config import PRESETS

MEASURE_S = 300.0
"""How long a step may take to be measured: 15 s of a core for the 7B, a minute where six programs share two cores."""

_MASTER_PORT = 29_500
"""torchrun's default (torch.distributed.run), where MASTER_PORT is not set."""


def needs(asked: Asked) -> Iterator[Finding]:
    """What training needs of this machine."""
    assert asked.train
    config = PRESETS[asked.train]
    if (Path(config.model) / "config.json").is_file():
        yield ok("train: model", f"{config.model} is there")
    else:
        yield warning(
            "train: model",
            f"{config.model}, which {asked.train} starts from, is not there",
            "make tiny-models"
            if asked.train == "tiny"
            else f"put {config.model} there, or give --model to the trainer",
        )
    number = os.environ.get("MASTER_PORT", str(_MASTER_PORT))
    yield port(int(number) if number.isdigit() else -1, "torchrun", "end what has it, or set another: MASTER_PORT")


def memory(asked: Asked) -> Iterator[Finding]:
    """Whether a step of training fits into this machine's GPUs."""
    assert asked.train
    if asked.train == "tiny":
        yield ok("train: GPUs", "tiny trains on a CPU as well")
        return
    try:
        gpus, why = gpus_here()
    except TookTooLong:
        yield fails("train: GPUs", f"the driver has not answered within {LOOK_S:g} s", "see to it (nvidia-smi, dmesg)")
        return
    count = asked.values["gpus"] or len(gpus)
    gib = asked.values["gpu_gib"] or min((one.gib for one in gpus), default=0.0)
    if not count or not gib:
        text = f"none that PyTorch sees ({why}), and {asked.train} needs some"
        yield fails("train: GPUs", text, "train where there are some; --gpus and --gpu-gib say how many and how large")
        return
    yield fitting(asked.train, count, gib)


def fitting(preset: str, gpus: int, gib: float) -> Finding:
    """Whether a step of a preset fits into so many GPUs of so much memory."""
    try:
        peak = answer_of("infra.doctor.trainer", [preset, str(gpus)], MEASURE_S)
    except TookTooLong:
        return skipped("train: GPUs", f"what a step takes was not measured within {MEASURE_S:g} s")
    except ValueError as error:
        return fails("train: GPUs", f"{preset} on {gpus} GPUs: {error}", "take another number of GPUs: --gpus")
    needed = peak / GIB + CUDA_GIB
    text = f"a step of {preset} takes {needed:.1f} GiB of each of {gpus} GPUs, and one has {gib:.1f}"
    if needed > gib:
        return fails(
            "train: GPUs",
            text,
            "more GPUs, fewer --windows, --lora-rank or --cpu-offload (python -m train.run.estimate)",
        )
    return ok("train: GPUs", text)


if __name__ == "__main__":
    from train.run.estimate import memory as measured

    try:
        print(json.dumps(measured(PRESETS[sys.argv[1]], int(sys.argv[2])).peak))
    except ValueError as error:
        sys.exit(" ".join(str(error).split()))
