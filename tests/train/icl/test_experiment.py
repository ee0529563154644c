"""A run is the same each time, is kept, and is not repeated; what is planned, and how answers are scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.train.icl.small import SMALL
from train.icl.command import main
from train.icl.experiment import Planned, copied, plan, score, train
from train.icl.model import IclModel
from train.icl.runs import ARMS, BASE, COMPRESSED, Run, Settings
from train.icl.tasks import draw


def test_a_run_is_the_same_when_repeated_and_read_back(tmp_path: Path) -> None:
    planned = Planned("averages", 1, 3)
    weights, runs = [], []
    for folder in (tmp_path / "first", tmp_path / "again"):
        folder.mkdir()
        base = train(Planned(BASE, 1), SMALL, folder)
        weights.append(base.weights(folder).read_bytes())
        assert Run.finished(folder, BASE, 1, 0, SMALL) is None  # not yet written
        base.write(folder)
        assert Run.finished(folder, BASE, 1, 0, SMALL) == base
        runs.append(train(planned, SMALL, folder))
    first, again = runs
    assert weights[0] == weights[1]
    assert first.curve == again.curve and len(first.curve) == 2
    assert (first.scores, first.families, first.pictures) == (again.scores, again.families, again.pictures)
    first.write(folder)
    assert Run.finished(folder, *planned, SMALL) == first
    assert Run.finished(folder, *planned, replace(SMALL, steps=3)) is None
    assert Run.finished(folder, "averages", 1, 4, SMALL) is None
    base.weights(folder).unlink()
    assert Run.finished(folder, BASE, 1, 0, SMALL) is None


def test_an_arm_begins_at_the_base_or_from_scratch(tmp_path: Path) -> None:
    """By its first loss."""
    base = train(Planned(BASE, 0), SMALL, tmp_path)
    examples = draw(None, SMALL.batch, SMALL.side, np.random.default_rng([0, 1]))
    learner = IclModel("xprompt", 3, 0, SMALL)
    for settings in (replace(SMALL, base_steps=0), SMALL):
        if settings.base_steps:
            learner.start_from(load_file(base.weights(tmp_path)))
        first = train(Planned("xprompt", 0, 3), settings, tmp_path).curve[0][1]
        assert first == pytest.approx(float(learner.loss(examples).detach()), rel=1e-6)


def test_a_score_is_that_of_pixels() -> None:
    """One channel of one of four pixels is wrong by one level of two: by half of white."""
    wanted = np.array([[[0, 13], [22, 26]]])
    found = score(np.array([[[1, 13], [22, 26]]]), wanted)
    assert found.right == 0.75
    assert found.psnr_db == pytest.approx(10 * np.log10(1 / (0.5**2 / 12)))
    assert score(wanted, wanted).psnr_db == np.inf
    assert 5 < copied("trained", SMALL).psnr_db < 20


def test_what_is_planned() -> None:
    found = plan(5, (4, 16, 64))
    assert len(found) == len(set(found)) == 5 + 40
    assert [each.seed for each in found if each.arm != BASE] == [seed for seed in range(5) for _ in range(8)]
    assert all((each.xp_tokens == 0) == (each.arm not in COMPRESSED) for each in found)
    for each in found:
        assert found.index(Planned(BASE, each.seed)) <= found.index(each)
    assert plan(5, (4, 16, 64), bases=False) == [each for each in found if each.arm != BASE]


def test_the_command_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All runs but two are there; of other settings none would be taken."""
    folder = tmp_path / "runs"
    folder.mkdir()
    base = train(Planned(BASE, 0), SMALL, folder)
    for arm in ARMS[2:]:
        replace(base, arm=arm, xp_tokens=3 if arm in COMPRESSED else 0).write(folder)
    replace(base, arm="none", settings=replace(SMALL, steps=7)).write(folder)
    options = ["--width", "32", "--layers", "2", "--heads", "2", "--base-steps", "2", "--steps", "2", "--batch", "4"]
    options += ["--examined", "10", "--seeds", "1", "--budgets", "3", "--out", str(tmp_path)]
    base.write(folder)
    assert main([*options, "--workers", "1"]) == 0
    *lines, report = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["base-0", "xprompt3-0", "averages3-0", "none-0", "causal-0"]
    run = Run.finished(folder, "causal", 0, 0, SMALL)
    assert run and lines[-1].split(",")[0] == f"causal-0: trained {run.scores['trained'].psnr_db:.2f}"
    assert report == str(tmp_path / "report.md")
    assert main([*options, "--report"]) == 0
    assert capsys.readouterr().out == f"{report}\n"
    assert "Runs finished: 4 and 1 bases" in Path(report).read_text()
    assert main([*options, "--report", "--steps", "9"]) == 2
    assert capsys.readouterr().err.endswith("has no finished arm with these settings: leave --report away\n")
    assert main([*options, "--heads", "3"]) == 2
    assert capsys.readouterr().err == "xprompt icl: a model of width 32 cannot have 3 heads of an even width\n"


@pytest.mark.parametrize(
    ("setting", "said"),
    [("heads", "cannot have 7 heads of an even width"), ("side", "the side at least 3"), ("steps", "above 0")],
)
def test_shapes_that_no_model_has(setting: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(**{setting: {"heads": 7, "side": 2, "steps": 0}[setting]})
