"""Memory of tensors without values is that of the same step with values, as PyTorch's profiler counts its allocator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile
from transformers import ChameleonConfig

from tests.train.make import CONFIG
from train.run.config import PAPER_7B, Config
from train.run.estimate import TARGETS, described
from train.run.memory import extended, measured
from train.run.optimizer import make_optimizer
from train.run.parallel import shard_on_meta, start
from xprompt_model.batch import MicroBatch
from xprompt_model.model import XPromptChameleon

TARGETS_HERE = 100


def test_a_real_step_has_the_measured_peak(config: Config) -> None:
    """On a CPU, whose attention takes half a megabyte a thread beside its result: hence one thread, and wide layers."""
    config = replace(config, window_tokens=1_024, windows=1, global_windows=1, dtype="bf16", recompute=True)
    wide = ChameleonConfig.from_dict({**CONFIG.to_dict(), "hidden_size": 256, "intermediate_size": 688})
    expected = measured(config, wide, 1, TARGETS_HERE)
    device, threads = start(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = shard_on_meta(config, wide, device).to_empty(device=device)
        optimizer = make_optimizer(model, config.lr, config.weight_decay)
        _backward(model, config)
        optimizer.step()
        optimizer.zero_grad()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            _backward(model, config)
    finally:
        torch.set_num_threads(threads)
        dist.destroy_process_group()
    now = peak = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    assert expected.rest + peak == pytest.approx(expected.passes, rel=0.05)
    assert peak > expected.rest  # else this would say nothing


def _backward(model: XPromptChameleon, config: Config) -> None:
    length = config.capacity
    weight = torch.zeros(length)
    weight[1 : TARGETS_HERE + 1] = 1
    batch = MicroBatch(
        ids=torch.zeros(length, dtype=torch.int64),
        segment=torch.zeros(length, dtype=torch.int8),
        document=torch.zeros(length, dtype=torch.int32),
        example=torch.zeros(length, dtype=torch.int8),
        position=torch.arange(length),
        weight=weight,
    )
    parts = model.loss(batch, None)
    torch.autograd.backward(parts.text_nll + parts.image_nll + config.z_loss * parts.z)


def test_weights_are_divided_among_ranks_or_kept_in_main_memory(config: Config) -> None:
    config = replace(config, window_tokens=256, windows=1, global_windows=64)
    count = sum(p.numel() for p in XPromptChameleon(CONFIG, xp_tokens=config.xp_tokens).parameters())
    half = measured(config, CONFIG, 2, TARGETS_HERE)
    assert half.rest == pytest.approx(12 * count / 2, rel=0.02) and half.host == 0
    away = measured(replace(config, cpu_offload=True), CONFIG, 1, TARGETS_HERE)
    assert away.rest < 1_000 and away.host == pytest.approx(16 * count, rel=0.01)


@pytest.mark.chaos
@pytest.mark.parametrize("gpus", [1, 4, 128])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"windows": 1},
        {"recompute": False, "windows": 2},
        {"window_tokens": 2_560},
        {"lora_rank": 16, "frozen_bits": 8},
        {"optimizer": "adamw8bit"},
        {"cpu_offload": True},
    ],
)
def test_few_blocks_tell_of_many(changes: dict[str, Any], gpus: int) -> None:
    config = replace(PAPER_7B, **changes)
    whole, found = (
        each(config, described("7b-paper"), gpus, config.windows * TARGETS) for each in (measured, extended)
    )
    for name, value in vars(whole).items():
        assert getattr(found, name) == pytest.approx(value, rel=0.05, abs=1e6)
