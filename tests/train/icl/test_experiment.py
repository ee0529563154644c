"""A run is the same each time, is kept, and is not repeated; what is planned, and how answers are scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.train.icl.small import SMALL
from train.icl.command import main
from train.icl.experiment import copied, planned, score, train
from train.icl.runs import ARMS, COMPRESSED, Run, Settings


def test_a_run_is_the_same_when_repeated_and_read_back(tmp_path: Path) -> None:
    first, again = (train("averages", 1, 3, SMALL) for _ in range(2))
    assert first.curve == again.curve and len(first.curve) == 2
    assert (first.scores, first.families, first.pictures) == (again.scores, again.families, again.pictures)
    first.write(tmp_path)
    assert Run.finished(tmp_path, "averages", 1, 3, SMALL) == first
    assert Run.finished(tmp_path, "averages", 1, 3, replace(SMALL, steps=3)) is None
    assert Run.finished(tmp_path, "averages", 1, 4, SMALL) is None


def test_a_score_is_that_of_pixels() -> None:
    """One channel of one of four pixels is wrong by one level of three: 85 of 255."""
    wanted = np.array([[[0, 21], [42, 63]]])
    found = score(np.array([[[1, 21], [42, 63]]]), wanted)
    assert found.right == 0.75
    assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / (85**2 / 12)))
    assert score(wanted, wanted).psnr_db == np.inf
    assert 5 < copied("trained", SMALL).psnr_db < 20


def test_what_is_planned() -> None:
    plan = planned(5, (4, 16, 64))
    assert len(plan) == len(set(plan)) == 40
    assert [each for each in plan if each[1] == 0] == plan[:8]
    assert all((xp_tokens == 0) == (arm not in COMPRESSED) for arm, _, xp_tokens in plan)


def test_the_command_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All runs but one are there; of other settings none would be taken."""
    folder = tmp_path / "runs"
    folder.mkdir()
    run = train("none", 0, 0, SMALL)
    for arm in ARMS[1:]:
        replace(run, arm=arm, xp_tokens=3 if arm in COMPRESSED else 0).write(folder)
    replace(run, settings=replace(SMALL, steps=7)).write(folder)
    options = ["--side", "2", "--width", "32", "--layers", "2", "--steps", "2", "--batch", "4", "--packed", "2"]
    options += ["--examined", "10", "--seeds", "1", "--budgets", "3", "--workers", "1", "--out", str(tmp_path)]
    assert main(options) == 0
    *lines, report = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["causal-0", "xprompt3-0", "averages3-0", "none-0"]
    assert lines[-1].split(",")[0] == f"none-0: trained {run.scores['trained'].psnr_db:.2f}"
    assert report == str(tmp_path / "report.md")
    assert main([*options, "--report"]) == 0
    assert capsys.readouterr().out == f"{report}\n"
    assert "Runs finished: 4." in Path(report).read_text()
    assert main([*options, "--report", "--steps", "9"]) == 2
    assert capsys.readouterr().err.endswith("has no finished run with these settings: leave --report away\n")
    assert main([*options, "--heads", "3"]) == 2
    assert capsys.readouterr().err == "xprompt icl: a model of width 32 cannot have 3 heads of an even width\n"


@pytest.mark.parametrize(
    ("setting", "said"),
    [("heads", "cannot have 3 heads of an even width"), ("side", "the side at least 2"), ("steps", "above 0")],
)
def test_shapes_that_no_model_has(setting: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**{setting: {"heads": 3, "side": 1, "steps": 0}[setting]})
