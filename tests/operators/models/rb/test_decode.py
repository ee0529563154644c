"""Stages B and A: against the loop that Stable Cascade's authors run, with networks that are formulas."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from operators.models.cascade import Cascade, load_cascade
from operators.models.rb.decode import decode
from operators.models.rb.parameters import STAGE_B


class _StageB:
    """Predicts less noise where it is shown stage C's latents, whose mean and text it adds."""

    device, dtype = torch.device("cpu"), torch.float32
    config = SimpleNamespace(in_channels=4)

    def __init__(self) -> None:
        self.told: list[float] = []

    def __call__(
        self, *, sample: torch.Tensor, timestep_ratio: torch.Tensor, clip_text_pooled: torch.Tensor, **given: Any
    ) -> tuple[torch.Tensor]:
        self.told.append(float(timestep_ratio[0]))
        more = given["effnet"].mean((1, 2, 3)) + clip_text_pooled.mean((1, 2))
        return (torch.stack([0.9 * row + 0.1 * value for row, value in zip(sample, more, strict=True)]),)


def test_stage_b_is_guided_and_rescaled_and_stochastic_and_stage_a_has_its_own_scale() -> None:
    latents = torch.randn(1, 16, 3, 6, generator=torch.Generator().manual_seed(1))
    network, given = _StageB(), list[torch.Tensor]()

    def stage_a(seen: torch.Tensor) -> Any:
        given.append(seen)
        return SimpleNamespace(sample=seen[:, :3].repeat_interleave(4, 2).repeat_interleave(4, 3))

    text = torch.full((1, 1, 8), 0.5)
    decoder = SimpleNamespace(
        decoder=network,
        vqgan=SimpleNamespace(decode=stage_a, device=torch.device("cpu"), dtype=torch.float32),
        encode_prompt=lambda *args, **kwargs: (None, text, None, 0 * text),
    )
    cascade: Any = SimpleNamespace(decoder=decoder)
    made = decode(cascade, latents, "a cat", (128, 256), STAGE_B, torch.Generator().manual_seed(3))

    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 32, 64, generator=generator).double()
    for step in range(10):
        with_it, without = 0.9 * x + 0.1 * (float(latents.mean()) + 0.5), 0.9 * x
        plain = without + 1.1 * (with_it - without)
        epsilon = 0.7 * plain * with_it.std() / plain.std() + 0.3 * plain
        signal, after = _signal(1 - step / 10), _signal(1 - (step + 1) / 10)
        x0 = (x - math.sqrt(1 - signal) * epsilon) / math.sqrt(signal)
        deviation = math.sqrt((1 - after) / (1 - signal) * (1 - signal / after))  # DDPM, arXiv 2010.02502, eq. 16
        fresh = torch.randn(1, 4, 32, 64, generator=generator).double()
        x = math.sqrt(after) * x0 + math.sqrt(1 - after - deviation**2) * epsilon + deviation * fresh
    torch.testing.assert_close(given[0].double(), 0.43 * x0, atol=1e-3, rtol=1e-3)
    assert len(network.told) == 10 and np.allclose(network.told[1:], [0.9 - step / 10 for step in range(9)], atol=1e-4)
    assert made.shape == (128, 256, 3) and made.dtype == np.uint8
    wanted = (0.43 * x0[0, :3]).clamp(0, 1).repeat_interleave(4, 1).repeat_interleave(4, 2) * 255
    assert np.abs(made - wanted.permute(1, 2, 0).numpy()).max() < 1


def test_in_bfloat16_it_runs_as_well(tiny: str) -> None:
    """As on a GPU: weights in bfloat16 under autocast, the time and the latents in float32."""
    torch.set_num_threads(1)
    cascade: Cascade = load_cascade.load(f"{tiny}/stable-cascade-prior", f"{tiny}/stable-cascade", "cpu")
    latents = torch.randn(1, 16, 3, 3, generator=torch.Generator().manual_seed(1))
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        cascade.decoder.to(dtype)
        picture = decode(cascade, latents, "a cat", (128, 128), STAGE_B, torch.Generator().manual_seed(3))
        made.append(picture.astype(float))
    assert 0 < np.abs(made[0] - made[1]).mean() < 8


def _signal(time: float) -> float:
    """The share of the signal in the variance of Stable Cascade's schedule."""
    share = math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    return min(max(share, 0.0001), 0.9999)
