"""The estimate reproduces what was worked out on paper for the 7B, and counts a real model's parameters."""

from __future__ import annotations

import pytest

from train.run.config import PRESETS
from train.run.cost import PEAK_FLOPS, parameters, peak_flops
from train.run.estimate import attended_pairs, main, memory, meta_model, token_flops

PAPER = PRESETS["7b-paper"]


def test_flops_and_hours_of_the_papers_run() -> None:
    flops = token_flops(meta_model("7b-paper"), PAPER)
    assert [round(value / 1e9, 1) for value in flops.values()] == [44.5, 41.9, 48.5]
    tokens = PAPER.global_windows * PAPER.window_tokens * PAPER.steps
    hours = [value * tokens / (128 * PEAK_FLOPS["A100"] * 0.45) / 3_600 for value in flops.values()]
    assert [round(value) for value in hours] == [72, 68, 79]
    assert tokens == pytest.approx(1.05e11, rel=0.002)


def test_parameters_and_memory() -> None:
    model = meta_model("7b-paper")
    assert parameters(model) / 1e9 == pytest.approx(7.014, abs=0.001)
    assert parameters(model) * 12 / 1e9 == pytest.approx(84, abs=0.5)
    many, few = memory(model, PAPER, 128), memory(model, PAPER, 8)
    assert many.total < few.total < 80e9
    assert few.state == 16 * many.state
    assert parameters(meta_model("34b")) / 1e9 == pytest.approx(34.3, abs=0.1)


def test_attended_pairs_are_those_of_the_mask() -> None:
    def allowed(q: int, k: int) -> bool:
        return k <= q and not (q >= 8 and k < 5)  # IE 5, XP 3, TD 5

    assert attended_pairs(5, 3, compress=True) == sum(allowed(q, k) for q in range(13) for k in range(13))
    assert attended_pairs(5, 3, compress=False) == 13 * 14 / 2


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--gpus", "64", "--gpu", "H100", "--mfu", "0.4"]) == 0
    out = capsys.readouterr().out
    assert "7.014B parameters" in out and "84 GB" in out and "hours on 64 H100 at 40%" in out


def test_devices_by_name() -> None:
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("some CPU") is None
