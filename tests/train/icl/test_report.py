"""The report says what the figures say, whatever they are: better, worse, or not shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from tests.train.icl.small import SMALL
from train.icl.experiment import copied
from train.icl.paired import compare, holm
from train.icl.report import write_report
from train.icl.runs import Arm, Run, Score
from train.icl.tasks import EXAMINED, NEW, TRAINED


def test_a_paired_comparison_is_that_of_the_differences() -> None:
    """By hand: differences 1, 2, 3 have mean 2, standard error 1 / sqrt(3), and two degrees of freedom."""
    found = compare([11, 22, 33], [10, 20, 30])
    assert found and (found.mean, found.wins, found.seeds) == (2, 3, 3)
    t = 2 * 3**0.5
    assert found.p == pytest.approx(1 - t / (t**2 + 2) ** 0.5)  # Student's t with two degrees of freedom, two-sided
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 2) / 3**0.5)
    assert found.low == pytest.approx(4 - found.high)
    assert compare([1, 2], [0, 1]) is None and compare([1], [0]) is None and compare([1, np.inf], [0, 1]) is None


def test_holm_steps_down() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]


@pytest.mark.parametrize(
    ("xprompt", "verdict"), [((12, 12.1, 11.9), "**better**"), ((8, 8.1, 7.9), "**worse**"), ((10, 6, 14), "not shown")]
)
def test_the_verdict_follows_the_figures(tmp_path: Path, xprompt: tuple[float, ...], verdict: str) -> None:
    runs = [_run("causal", 0, seed, 10 + seed / 50) for seed in range(3)]
    runs += [_run("xprompt", 4, seed, value) for seed, value in enumerate(xprompt)]
    write_report(tmp_path, runs)
    lines = (tmp_path / "report.md").read_text().splitlines()
    found = [line for line in lines if "S = 4 - context, plain" in line and "| held-out tasks |" in line]
    assert len(found) == 2  # PSNR and exact tokens
    assert all(line.endswith(f"| {verdict} |") for line in found)


def test_the_report_says_what_came_out(tmp_path: Path) -> None:
    runs = [_run("none", 0, seed, 8 + seed) for seed in range(2)] + [_run("causal", 0, 0, 10)]
    runs += [
        _run(arm, budget, seed, 9 + budget / 10)
        for arm in ("xprompt", "averages")
        for budget in (4, 16, 64)
        for seed in range(2)
    ]
    runs += [_run("base", 0, 0, 7)]
    write_report(tmp_path, runs)
    text = (tmp_path / "report.md").read_text()
    assert "| no context | 9.50 ± 0.71 | 0.950 ± 0.071 | 8.50 ± 0.71 | 0.850 ± 0.071 |" in text
    assert "| the base, which sees the whole example | 8.00 | 0.800 | 7.00 | 0.700 |" in text
    assert "Runs finished: 15 and 1 bases, 1 CPU minutes in all." in text
    assert "| context, plain causal mask | 10.00, 1.000 | not yet |" in text
    assert "- Difficulty: the best arm on held-out tasks, context through X-Prompt tokens, S = 64, has 1.540" in text
    assert ("doing nothing has the better PSNR" in text) == (copied("parameters", SMALL).psnr_db > 15.4)
    assert "each run keeps: no context 100%; context, plain causal mask 0%;" in text
    assert "Of the right answers 0% are. An arm above 50% has read at most which colours" in text
    assert "change by +0.600: more X-Prompt tokens help." in text
    assert "S = 4: against the whole example in sight, X-Prompt has -0.060 of the tokens exact" in text
    assert "and averages -0.060: the two keep about the same.\n" in text
    assert "S = 64: against the whole example in sight, X-Prompt has +0.540" in text
    assert text.count("each token has one of its own") == 1
    assert "with none (`--base-steps 0`)" in text
    assert "more than 0.05 nats a token: no context 0.20; context, plain causal mask 0.20" in text
    assert "plain causal mask, exact tokens above no context, more than 0.03 and in every seed: tone +0.20" in text
    curves = (tmp_path / "curves.svg").read_text()
    assert curves.startswith("<svg") and curves.count("<polyline") == 8
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width == 72 * (4 + 8) + 8


def test_with_one_run_nothing_is_compared(tmp_path: Path) -> None:
    write_report(tmp_path, [replace(_run("none", 0, 0, 8), curve=[(1, 2.0, _score(8))])])
    assert "nothing to compare" in (tmp_path / "report.md").read_text()


def _score(psnr_db: float) -> Score:
    return Score(psnr_db=psnr_db, right=psnr_db / 10)


def _run(arm: Arm, xp_tokens: int, seed: int, psnr_db: float) -> Run:
    """A run that is a decibel better on trained tasks than on held-out ones, and a decibel worse on new families."""
    by_set: dict[str, Score] = {name: _score(psnr_db + 1 - place) for place, name in enumerate(EXAMINED)}
    families = {"parameters": TRAINED, "families": NEW}
    return Run(
        arm=arm,
        seed=seed,
        xp_tokens=xp_tokens,
        settings=SMALL,
        curve=[(step, 3 - step / 10, _score(psnr_db)) for step in range(1, 7)],
        scores=by_set,
        families={name: dict.fromkeys(of, by_set[name]) for name, of in families.items()},
        seconds=5.0,
        pictures=[[[0, 1, 2] * 3] * 3] * 4 + [[[7] * 8 + [7 if arm == "none" else 8]] * 3],
    )
