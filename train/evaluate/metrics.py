"""What a run reports each step: a JSON line in OUT/metrics.jsonl, the same in TensorBoard and, if asked for, at Weights
& Biases, and a line on the terminal.

    {"step": 12, "loss": 3.1, "loss_text": 2.2, "loss_image": 3.3, "loss_by": {"derain/forward/generate": 3.4, ...},
     "gradient_norm": 1.2, "lr": 0.0001, "tokens_per_s": 5120.0, "mfu": 0.41, "fill": 0.99, "memory_gb": 61.2, ...}

Losses are nats a unit of loss weight, over all ranks; tokens_per_s is of all ranks, padding left out. Where there are
any, "no_context" counts by task the documents of the step whose in-context examples did not fit into the window, and
"too_long" the examples that were left out themselves. "skipped" counts
the steps of the run so far that changed nothing. A number that is not finite is null. A step at which held-out examples
were validated on has "validation": {"loss": ..., "loss_text": ..., "loss_image": ..., "derain/forward/generate": ...},
and pictures in OUT/samples/step-000500.
"""

from __future__ import annotations

import hashlib
import json
import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from manifests.printing import say
from manifests.storage import Store
from train.data.loader import Fed
from xprompt_model.model import LossParts

_FILE = "metrics.jsonl"


class Tally:
    """Sums over a step's micro-batches on this rank, then over all ranks."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._parts = torch.zeros(5, dtype=torch.float64)
        self._by_label = torch.zeros(2, len(labels), dtype=torch.float64)
        self._dropped = torch.zeros(2, len(labels), dtype=torch.float64)
        self._tokens = torch.zeros(2, dtype=torch.float64)

    def add(self, fed: Fed, parts: LossParts) -> None:
        """Count a micro-batch and the sums of its loss."""
        scalars = torch.stack([part.detach() for part in parts[:5]])
        self._parts += scalars.cpu().double()
        labels = torch.tensor(fed.labels)
        document = fed.batch.document.long()
        of = labels[document[document >= 0]]
        for row, values in enumerate((parts.token_nll.cpu(), fed.batch.weight)):
            self._by_label[row].index_add_(0, of, values[: len(of)].double())
        for row, dropped in enumerate((fed.no_context, fed.too_long)):
            self._dropped[row] += torch.bincount(torch.tensor(dropped, dtype=torch.int64), minlength=len(self._labels))
        self._tokens += torch.tensor([fed.tokens, len(fed.batch.ids)], dtype=torch.float64)

    def result(self) -> dict[str, Any]:
        """Losses, fill rate and tokens of the step over all ranks. Every rank calls it."""
        for values in (self._parts, self._by_label, self._dropped, self._tokens):
            dist.all_reduce(values)
        text, image, z, text_weight, image_weight = self._parts.tolist()
        tokens, capacity = self._tokens.tolist()
        nll, weight = self._by_label
        seen = {name: float(nll[i] / weight[i]) for i, name in enumerate(self._labels) if weight[i] > 0}
        no_context, too_long = (
            {name: int(count) for name, count in zip(self._labels, counts, strict=True) if count}
            for counts in self._dropped.tolist()
        )
        return {
            "loss": (text + image) / (text_weight + image_weight),
            **({"loss_text": text / text_weight} if text_weight else {}),
            **({"loss_image": image / image_weight} if image_weight else {}),
            "loss_by": seen,
            **({"no_context": no_context} if no_context else {}),
            **({"too_long": too_long} if too_long else {}),
            "z": z / (text_weight + image_weight),
            "fill": tokens / capacity,
            "tokens": int(tokens),
            "capacity": int(capacity),
        }


class Log:
    """The reports of a run, by rank 0; on the other ranks it does nothing."""

    def __init__(
        self, out: str, steps: int, done: int, wandb_project: str = "", config: Mapping[str, Any] | None = None
    ) -> None:
        """Lines of steps beyond the `done` ones, which a killed run left and which come again, are dropped.

        Raises ValueError, one line, if Weights & Biases is asked for and not installed, or refuses.
        """
        self._out, self._steps = Path(out), steps
        self._writer: SummaryWriter | None = None
        self._wandb: Any = None
        self._path = self._out / _FILE
        if dist.get_rank() == 0:
            Store(out).write_bytes(_FILE, "".join(_kept(self._path, done)).encode())
            self._writer = SummaryWriter(str(self._out / "tensorboard"), purge_step=done + 1)
            self._wandb = _wandb_run(self._out, wandb_project, config or {}) if wandb_project else None

    def step(self, record: Mapping[str, Any]) -> None:
        """Report one step."""
        if self._writer is None:
            return
        with self._path.open("a") as file:
            file.write(json.dumps(_finite(record), allow_nan=False) + "\n")
        numbers = dict(_numbers(record))
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, record["step"])
        if self._wandb:
            self._wandb.log(numbers, step=record["step"])
        mfu = f"  MFU {record['mfu']:.1%}" if "mfu" in record else ""
        step = {name: value for name, value in record.items() if name != "validation"}
        say(
            f"step {record['step']:>5} of {self._steps}  loss {record['loss']:.4f}  lr {record['lr']:.2e}"
            f"  {record['tokens_per_s']:,.0f} tokens/s{mfu}  fill {record['fill']:.1%}"
            f"  waiting for data {record['data_wait']:.0%}",
            event="step",
            steps=self._steps,
            **step,
        )
        if "validation" in record:
            losses = [f"{name.replace('_', ' of ')} {value:.4f}" for name, value in record["validation"].items()]
            text = f"step {record['step']:>5} of {self._steps}  held out: {'  '.join(losses)}"
            say(text, event="validation", step=record["step"], steps=self._steps, losses=record["validation"])

    def pictures(self, step: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Report pictures, [h, w, 3] each, before the step itself; on the other ranks there are none."""
        if self._writer is None or not pictures:
            return
        folder = self._out / "samples" / f"step-{step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            Image.fromarray(picture).save(folder / f"{name}.png")
            self._writer.add_image(f"samples/{name}", picture, step, dataformats="HWC")
        if self._wandb:
            import wandb

            shown = {f"samples/{name}": wandb.Image(picture) for name, picture in pictures.items()}
            self._wandb.log(shown, step=step)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        if self._wandb:
            self._wandb.finish()


def _wandb_run(out: Path, project: str, config: Mapping[str, Any]) -> Any:
    """A run of Weights & Biases that the same OUT goes on with when it goes on."""
    try:
        import wandb
    except ImportError:
        raise ValueError('--wandb: pip install "xprompt-data-engine[wandb]"') from None
    # Of the folder's name alone, a run elsewhere of the same name would go on with this one.
    name = hashlib.sha256(f"{socket.gethostname()}:{out.absolute()}".encode()).hexdigest()[:16]
    try:
        return wandb.init(
            project=project,
            id=name,
            name=out.name,
            dir=str(out),
            resume="allow",
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )
    except wandb.Error as error:
        raise ValueError(f"--wandb {project}: {' '.join(str(error).split())}") from None


def _numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and value of all numbers of a record, those inside a dict by both names."""
    for name, value in record.items():
        several = value if isinstance(value, dict) else {"": value}
        for key, each in several.items():
            yield f"{name}/{key}".rstrip("/"), each


def _finite(value: Any) -> Any:
    """As JSON has it, which knows no NaN and no infinity."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def peak_memory_gb(device: torch.device) -> float:
    """Most memory in use on this rank's device since the last call, 10**9 bytes; on a CPU, most ever resident."""
    if device.type == "cuda":
        peak: int = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak / 1e9
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0.0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def gathered(value: float) -> Tensor:
    """The numbers that the ranks pass in, [ranks], known to all of them afterwards."""
    values = torch.zeros(dist.get_world_size(), dtype=torch.float64)
    values[dist.get_rank()] = value
    dist.all_reduce(values)
    return values


def _kept(path: Path, done: int) -> list[str]:
    """The whole lines of the first `done` steps. A kill can leave half a line."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= done]
