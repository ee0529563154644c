"""Presets, and the command line over them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from train.run.config import PAPER_7B, PRESETS, parse


def test_the_papers_run() -> None:
    paper = PRESETS["7b-paper"]
    assert (paper.global_windows, paper.window_tokens, paper.lr, paper.steps) == (1_024, 5_120, 1e-4, 20_000)
    assert paper.micro_batches == 128  # one for each of its GPUs


def test_the_command_line_goes_over_a_preset() -> None:
    assert parse([]) == PRESETS["tiny"]
    found = parse(
        ["--preset", "7b-paper", "--lr", "1e-3", "--no-recompute", "--data", "a", "b", "--sampling", "x/*/*=0"]
    )
    expected = replace(PAPER_7B, lr=1e-3, recompute=False, data=("a", "b"), sampling=("x/*/*=0",))
    assert found == expected


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun is no xprompt, and no shell expands --out=~/x."""
    monkeypatch.setenv("HOME", "/home/me")
    found = parse(["--out=~/x", "--data", "~/a", "b"])
    assert (found.out, found.data) == ("/home/me/x", ("/home/me/a", "b"))


def test_help_says_what_each_option_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    printed = capsys.readouterr().out
    assert "--global-windows" in printed and "windows a step over all ranks" in printed


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--dtype", "fp8"], "float32 or bf16"),
        (["--windows", "3"], "not a multiple"),
        (["--steps", "0"], "--steps 0: it must be above 0"),
        (["--buffer-windows", "1"], "cannot fill"),
        (["--optimizer", "sgd"], "--optimizer sgd: adamw or adamw8bit"),
        (["--frozen-bits", "8"], "--frozen-bits needs --lora-rank"),
        (["--lora-rank", "4", "--frozen-bits", "4"], "--frozen-bits 4: 8, or 0"),
        (["--lora-rank", "4", "--lora-whole", "norm"], "--lora-whole norm: embed_tokens or lm_head"),
        (["--examples", "0"], "--examples 0: it must be above 0"),
        (["--examples", "128"], "at most 127"),
        (["--windows", "0"], "--windows 0: it must be above 0"),
        (["--global-windows", "0"], "--global-windows 0: it must be above 0"),
        (["--lr", "nan"], "--lr nan: it must be above 0"),
        (["--lr", "inf"], "--lr inf: it must be finite"),
        (["--clip-norm", "nan"], "--clip-norm nan: it must be above 0"),
        (["--weight-decay", "-1"], "--weight-decay -1.0: it must be 0 or above"),
        (["--z-loss", "nan"], "--z-loss nan: it must be 0 or above"),
        (["--image-weight", "-1"], "--image-weight -1.0: it must be 0 or above"),
        (["--prompt-weight", "inf"], "--prompt-weight inf: it must be 0 or above"),
        (["--image-weight", "0", "--text-weight", "0"], "are both 0: nothing would be learned"),
        (["--workers", "-1"], "--workers -1: it must be 0 or above"),
        (["--context-pixels", "-5"], "--context-pixels -5: it must be 0 or above"),
        (["--seed", "99999999999999999999"], "--seed 99999999999999999999: it is a number of 64 bits"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(wrong: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(wrong)


@pytest.mark.parametrize(
    ("arguments", "arm"),
    [
        ([], "xprompt"),
        (["--no-compress"], "causal"),
        (["--no-contexts"], "none"),
        (["--no-contexts", "--no-compress"], "none"),
    ],
)
def test_the_arm_of_tab_4_that_a_command_line_asks_for(arguments: list[str], arm: str) -> None:
    assert parse(arguments).arm == arm
