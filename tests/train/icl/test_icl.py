"""The experiment in short: what it draws, what each arm may see, that an example helps, what the report says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train.icl.command import main
from train.icl.experiment import train
from train.icl.model import ARMS, XP_TOKENS, Arm, IclModel
from train.icl.report import write_report
from train.icl.runs import Run, Settings
from train.icl.tasks import CELLS, COLOURS, FAMILIES, Batch, Family, draw, split_tasks


@pytest.mark.parametrize(("family", "tasks"), [("stencil", 7**4), ("recolour", math.factorial(6))])
def test_tasks_are_split_once_and_for_all(family: Family, tasks: int) -> None:
    trained, held_out = split_tasks(family)
    assert len(held_out) == round(0.3 * tasks)
    assert len({tuple(task) for task in np.concatenate([trained, held_out])}) == tasks
    assert np.array_equal(split_tasks(family)[1], held_out)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_example_tells_all_that_the_answer_needs(family: Family) -> None:
    _, tasks = split_tasks(family)
    batch = draw(family, tasks, 200, np.random.default_rng(0))
    for row in range(200):
        before, after, query = batch.context_input[row], batch.context_output[row], batch.query[row]
        if family == "stencil":
            found = [new if new != old else cell for old, new, cell in zip(before, after, query, strict=True)]
        else:
            rule = dict(zip(before, after, strict=True))
            assert len(rule) == CELLS
            found = [rule[cell] for cell in query]
        assert found == batch.answer[row].tolist()
        assert batch.answer[row].min() >= 0 and batch.answer[row].max() < COLOURS


@pytest.mark.parametrize("arm", ARMS)
def test_what_an_answer_depends_on(arm: Arm) -> None:
    """The example's images if there is a context, the query always, and the true answer never."""
    model, batch = IclModel(arm, 0), _batch()
    expected = model.answer(batch)
    other = (COLOURS - 1) - batch.answer
    assert np.array_equal(model.answer(_changed(batch, answer=other)), expected)
    changed = model.answer(_changed(batch, context_input=other, context_output=batch.query))
    assert np.array_equal(changed, expected) == (arm == "none")
    assert not np.array_equal(model.answer(_changed(batch, query=other)), expected)


def test_x_prompt_tokens_are_all_that_lets_the_example_through() -> None:
    """With what they see of it cut off, the answer does not depend on it any more."""
    model, batch = IclModel("xprompt", 0), _batch()
    segment = torch.from_numpy(model._layout.template.segment)
    model._layout.mask[0, 0, (segment == 1)[:, None] & (segment == 0)[None]] = False
    other = (COLOURS - 1) - batch.answer
    changed = _changed(batch, context_input=other, context_output=batch.query)
    assert np.array_equal(model.answer(changed), model.answer(batch))


def test_averages_take_the_place_of_x_prompt_tokens() -> None:
    lengths = {arm: IclModel(arm, 0).ids(_batch()).shape[1] for arm in ARMS}
    assert lengths["xprompt"] == lengths["causal"] == lengths["pooled"] + XP_TOKENS
    assert lengths["none"] < lengths["pooled"]


def test_an_example_helps() -> None:
    """On held-out tasks, after a short training. Whether X-Prompt tokens beat a plain context is not for a test."""
    settings = Settings(family="stencil", steps=200)
    none, xprompt = (train(arm, 0, settings) for arm in ("none", "xprompt"))
    assert xprompt.accuracy["held_out"] > none.accuracy["held_out"] + 0.1
    assert none.accuracy["held_out"] < 0.35  # copying the query gives 2/7
    assert xprompt.psnr_db["held_out"] > none.psnr_db["held_out"]
    assert xprompt.curve[-1][1] < xprompt.curve[0][1]


def test_a_run_is_the_same_when_repeated() -> None:
    settings = Settings(family="recolour", steps=3, batch=4)
    first, again = (train("pooled", 1, settings) for _ in range(2))
    assert (first.curve, first.accuracy, first.pictures) == (again.curve, again.accuracy, again.pictures)


def test_the_command_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All runs but one are there; of another setting none would be taken."""
    settings = Settings(family="stencil", steps=2)
    folder = tmp_path / "runs"
    folder.mkdir()
    for arm in ARMS[1:]:
        _run(arm, 0, settings, 0.5).write(folder)
    _run("none", 0, Settings(family="stencil", steps=7), 0.9).write(folder)
    options = ["--out", str(tmp_path), "--families", "stencil", "--seeds", "1", "--steps", "2", "--workers", "1"]
    assert main(options) == 0
    *kept, made, report = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in kept] == [f"stencil-{arm}-0" for arm in ARMS[1:]]
    assert made.startswith("stencil-none-0: 0.")
    assert report == str(tmp_path / "report.md")


def test_the_report_says_what_came_out(tmp_path: Path) -> None:
    settings = Settings(family="stencil", steps=20)
    values: dict[Arm, tuple[float, float]] = {"none": (0.1, 0.2), "causal": (0.5, 0.7), "xprompt": (0.6, 0.9)}
    write_report(tmp_path, [_run(arm, seed, settings, values[arm][seed]) for arm in values for seed in (0, 1)])
    text = (tmp_path / "report.md").read_text()
    assert "| no context | 0.150 ± 0.050 | 8.0 ± 0.0 | 1.000 ± 0.000 | 0.100, 0.200 | 5 |" in text
    assert "- context, plain causal mask (0.600) > no context (0.150), in every seed." in text
    assert (
        "- context through X-Prompt tokens (0.750) > context, plain causal mask (0.600), "
        "but the seeds overlap: no difference is shown." in text
    )
    assert "Recolour" not in text and "averages (" not in text
    curves = (tmp_path / "curves-stencil.svg").read_text()
    assert curves.startswith("<svg") and curves.count("<polyline") == 3
    with Image.open(tmp_path / "grid-stencil.png") as grid:
        assert grid.width > grid.height > 100


def _batch() -> Batch:
    return draw("stencil", split_tasks("stencil")[0], 16, np.random.default_rng(3))


def _changed(batch: Batch, **images: np.ndarray) -> Batch:
    return Batch(**{**vars(batch), **images})


def _run(arm: Arm, seed: int, settings: Settings, accuracy: float) -> Run:
    return Run(
        arm=arm,
        seed=seed,
        settings=settings,
        curve=[(1, 2.0, 0.1), (settings.steps, 1.0, accuracy)],
        accuracy={"held_out": accuracy, "trained": 1.0},
        psnr_db={"held_out": 8.0, "trained": 9.0},
        seconds=5.0,
        pictures=[[[0, 1, 2, 3]] * 3] * 5,
    )
