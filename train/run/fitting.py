"""What fits which GPU: micro-batches by method of training, number of GPUs and their memory.

Measured by `memory.py` with 1 and with 8 windows, on 1, 2 and 8 GPUs; what is between lies on the line between: each
window adds the same, and what is sharded shrinks with the number of GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from transformers import ChameleonConfig

from train.run.config import Config
from train.run.memory import Measured, extended

_LORA = {"lora_rank": 16, "lora_whole": ()}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "all weights": {},
    "all weights, 8-bit Adam": {"optimizer": "adamw8bit"},
    "all weights, CPU offload": {"cpu_offload": True},
    "LoRA": _LORA,
    "LoRA, 8-bit weights": {**_LORA, "frozen_bits": 8},
}
"""What each changes of a run."""

GPUS = (1, 2, 4, 8)
CARDS_GB = (24, 48, 80)
"""As they are sold: of 2**30 bytes."""

_MOST_WINDOWS = 8

_SHARE = 0.9
"""What of a GPU's memory the step may take by count; the rest is for CUDA, NCCL and fragments. Our choice."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method on a number of GPUs."""

    gpus: int
    method: str
    one: Measured
    """With one window a micro-batch."""
    most: Measured
    """With _MOST_WINDOWS."""

    def fits(self, card_gb: int) -> int:
        """The windows a micro-batch, up to _MOST_WINDOWS, that fit a card; 0 if not even one does."""
        held = [self.one.towards(self.most, more / (_MOST_WINDOWS - 1)) for more in range(_MOST_WINDOWS)]
        return sum(each.peak <= _SHARE * card_gb * 2**30 for each in held)


def fitting(config: Config, described: ChameleonConfig, targets: int) -> Iterator[Row]:
    """The rows of all methods, by number of GPUs, `targets` being the loss weights of a window. Takes minutes."""
    for method, changes in METHODS.items():
        changed = replace(config, lora_rank=0, lora_whole=(), frozen_bits=0, optimizer="adamw", cpu_offload=False)
        changed = replace(changed, **changes, shard_ranks=0)
        found: dict[int, list[Measured]] = {}
        for gpus in (1, 2, 8):
            found[gpus] = [
                extended(replace(changed, windows=windows), described, gpus, windows * targets)
                for windows in (1, _MOST_WINDOWS)
            ]
        share = (1 / 4 - 1 / 2) / (1 / 8 - 1 / 2)
        found[4] = [two.towards(eight, share) for two, eight in zip(found[2], found[8], strict=True)]
        for gpus in GPUS:
            one, most = found[gpus]
            yield Row(gpus=gpus, method=method, one=one, most=most)


def print_table(config: Config, described: ChameleonConfig, targets: int) -> None:
    """Print the rows as they are measured."""
    print(f"windows of {config.window_tokens:,} tokens a micro-batch, up to {_MOST_WINDOWS}, that fit a GPU of so much")
    cards = "".join(f"{f'{card} GB':>7}" for card in CARDS_GB)
    print(f"{'method':<26}{'GPUs':>5}{'one window':>12}{'each more':>11}{'main memory':>13}{cards}")
    for row in fitting(config, described, targets):
        more = (row.most.peak - row.one.peak) / (_MOST_WINDOWS - 1)
        fits = "".join(f"{row.fits(card) or '-':>7}" for card in CARDS_GB)
        host = f"{row.most.host / 1e9:10.1f} GB" if row.most.host else ""
        print(
            f"{row.method:<26}{row.gpus:>5}{row.one.peak / 1e9:9.1f} GB{more / 1e9:8.1f} GB{host:>13}{fits}", flush=True
        )
