"""The plan of tasks whose pictures models paint: bounds and assumptions, and not a picture made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from operators.degrade.edges import Edges
from operators.paint.best_edit import BestEdit
from operators.paint.flux import Flux
from operators.paint.pose_control import PoseControl
from operators.paint.rb_modulation import RbModulation
from operators.read.style_prompts import StylePrompts
from operators.vlm.client import Vlm
from pipelines.report.estimate import Estimate, estimate, print_estimate
from pipelines.tasks.controllable import HED2IMG
from pipelines.tasks.editing import EDITING
from pipelines.tasks.low_level import DERAIN
from pipelines.tasks.personalisation import POSE, STYLE
from pipelines.tasks.task import Task

_VLM = Vlm(model="m", url_or_folder="http://127.0.0.1:9/v1")


@pytest.fixture(autouse=True)
def _nothing_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an operator that paints does first ends the test: no `except Exception` on the way stops that."""

    def refuse(*args: object, **options: object) -> None:
        pytest.fail("the plan painted a picture")

    for kind, name in ((Flux, "many"), (RbModulation, "many"), (PoseControl, "many"), (BestEdit, "__call__")):
        assert callable(getattr(kind, name))
        monkeypatch.setattr(kind, name, refuse)


def _estimate(task: Task) -> Estimate:
    assert task.bundled
    return estimate(task, task.bundled.reader, seed=0)


def test_a_painted_task_is_bounded_from_above() -> None:
    """Before, the plan of style made 16 samples with FLUX, and that of editing found that 0 pairs would be kept."""
    style = _estimate(STYLE.asking(_VLM))
    assert not style.tried
    assert (style.items, style.pairs, style.calls) == (192, 192, 2 * style.sampled)
    editing = _estimate(EDITING.asking(_VLM))
    assert editing.pairs == editing.items > 0
    assert editing.extrapolated(editing.examples) == 4 * editing.items


def test_gpu_time_is_the_sum_of_what_the_operators_assume(capsys: pytest.CaptureFixture[str]) -> None:
    sd15, flux = _estimate(POSE), _estimate(POSE.with_options({"generator": "flux"}))
    assert 0 < sd15.gpu_s_per_pair < flux.gpu_s_per_pair
    print_estimate(
        STYLE,
        replace(StylePrompts(), count=3_600),
        replace(_estimate(STYLE), items=3_600),
        "none: prompts",
        Console(width=300, markup=False),
    )
    printed = capsys.readouterr().out
    assert printed.startswith(
        "style: FLUX.1 and RB-Modulation on Stable Cascade, from style prompts (none: prompts; made by FLUX.1 [dev]"
    )
    assert "at most 3,600: what is kept is not known" in printed


def test_without_painters_a_sample_is_made() -> None:
    derain = _estimate(DERAIN)
    assert derain.tried and derain.gpu_s_per_pair == 0
    assert isinstance(HED2IMG.chain[0], Edges) and 0 < HED2IMG.chain[0].gpu_s < 1
