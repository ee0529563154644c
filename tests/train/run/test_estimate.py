"""The estimate reproduces what was worked out on paper for the 7B, and counts a real model's parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from train.run.config import PRESETS, Config
from train.run.cost import PEAK_FLOPS, parameters, peak_flops
from train.run.estimate import TARGETS, attended_pairs, main, meta_model, token_flops
from train.run.fitting import METHODS, Row
from train.run.memory import Measured

PAPER = PRESETS["7b-paper"]


def test_flops_and_hours_of_the_papers_run() -> None:
    flops = token_flops(meta_model("7b-paper"), PAPER)
    assert [round(value / 1e9, 1) for value in flops.values()] == [44.5, 41.9, 48.5]
    tokens = PAPER.global_windows * PAPER.window_tokens * PAPER.steps
    hours = [value * tokens / (128 * PEAK_FLOPS["A100"] * 0.45) / 3_600 for value in flops.values()]
    assert [round(value) for value in hours] == [72, 68, 79]
    assert tokens == pytest.approx(1.05e11, rel=0.002)


def test_parameters() -> None:
    model = meta_model("7b-paper")
    assert parameters(model) / 1e9 == pytest.approx(7.014, abs=0.001)
    assert parameters(model) * 12 / 1e9 == pytest.approx(84, abs=0.5)
    assert parameters(meta_model("34b")) / 1e9 == pytest.approx(34.3, abs=0.1)


def test_attended_pairs_are_those_of_the_mask() -> None:
    def allowed(q: int, k: int) -> bool:
        return k <= q and not (q >= 8 and k < 5)  # IE 5, XP 3, TD 5

    assert attended_pairs(5, 3, compress=True) == sum(allowed(q, k) for q in range(13) for k in range(13))
    assert attended_pairs(5, 3, compress=False) == 13 * 14 / 2


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Config, int, int]] = []

    def found(config: Config, described: object, gpus: int, targets: int) -> Measured:
        """Measuring takes seconds: tests/train/run/test_memory.py has it."""
        asked.append((config, gpus, targets))
        return Measured(rest=1e9, passes=5e9, update=2e9)

    monkeypatch.setattr("train.run.estimate.extended", found)
    assert main(["--gpus", "64", "--gpu", "H100", "--mfu", "0.4", "--lora-rank", "8", "--windows", "2"]) == 0
    out = capsys.readouterr().out
    assert "7.014B parameters" in out and "84 GB" in out and "hours on 64 H100 at 40%" in out
    assert "memory of one of 64 GPUs, measured on tensors without values: 5.0 GB" in out
    assert asked == [(replace(PAPER, lora_rank=8, windows=2), 64, 2 * TARGETS)]


@pytest.mark.parametrize("wrong", [["--gpus", "0"], ["--mfu", "0"], ["--mfu", "nan"], ["--mfu", "45"]])
def test_no_gpus_and_no_share_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)
    assert f"argument {wrong[0]}: {wrong[1]} is no " in capsys.readouterr().err


def test_the_table_counts_the_windows_that_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a step that needs 40 GB over all GPUs and 10 GB a window on each."""

    def found(config: Config, described: object, gpus: int, targets: int) -> Measured:
        return Measured(rest=0, passes=40e9 / gpus + 10e9 * config.windows, update=0)

    monkeypatch.setattr("train.run.fitting.extended", found)
    assert main(["--table"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[-3:] for line in lines[2:6]] == [["-", "-", "3"], ["-", "2", "5"], ["1", "3", "6"], ["1", "4", "7"]]
    assert len(lines) == 2 + 4 * len(METHODS)


def test_a_card_is_not_filled_to_its_brim() -> None:
    one, most = (Measured(rest=0, passes=peak * 2**30, update=0) for peak in (21.5, 70))
    row = Row(gpus=1, method="", one=one, most=most)
    assert (row.fits(24), row.fits(80), row.fits(16)) == (1, 8, 0)


def test_devices_by_name() -> None:
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("some CPU") is None
