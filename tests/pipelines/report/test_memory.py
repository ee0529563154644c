"""What a plan says of a GPU's memory, and that infra/docs/models.md says the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from infra.command import main
from operators.models.catvton import RELEASED
from operators.paint.try_on import TryOn
from operators.vlm.client import Vlm
from pipelines.report.memory import Fit, fit, fit_lines, fit_table
from pipelines.tasks.catalogue import OUR_TASKS
from pipelines.tasks.task import Task
from tests.commands import ROOT
from tests.tiny import tiny_models

CARDS = {"24 GB": 22, "40 GB": 39, "80 GB": 79}
"""How a GPU is sold, and about how many GiB it shows its processes: those of A10, A100 40 GB and A100 80 GB."""


def _painting(task: str, **options: Any) -> Task:
    """A task with all that it may run: CatVTON's released attention for try-on, whose targets may be missing."""
    found = OUR_TASKS[task].with_options(options)
    return found.changed(lambda link: replace(link, trained=RELEASED) if isinstance(link, TryOn) else link)


def _rows() -> Mapping[tuple[str, str], Task]:
    """Task and setting -> the task."""
    rows = {}
    annotating = ("depth2img", "seg2img", "normal2img", "hed2img")
    for name in ("style", "pose", "composition", "tryon", "mimicbrush", "editing", *annotating):
        has_choice = "generator" in OUR_TASKS[name].options
        for generator in ("sd15", "flux") if has_choice else ("",):
            setting = f"GENERATOR={generator}" if generator else ""
            rows[name, setting] = _painting(name, **({"generator": generator} if generator else {}))
    local = Vlm(model="qwen2-vl", url_or_folder="/models/qwen2-vl")
    rows["editing", "VLM=local"] = OUR_TASKS["editing"].asking(local)
    return dict(sorted(rows.items(), key=lambda row: [*OUR_TASKS].index(row[0][0])))


def _cell(found: Fit | None) -> str:
    assert found
    if found.refusal:
        return "no"
    gib = " + ".join(f"{stage.need.gib:.1f}" for stage in found.stages)
    together = int(1 / found.stages[0].gpus)
    turns = ", editors in turns" if any("in turns" in name for names in found.names for name in names) else ""
    return gib + (f", {together} a GPU" if len(found.stages) == 1 and together > 1 else "") + turns


def test_the_readme_says_what_fits_on_which_gpu() -> None:
    table = [f"| task | with | {' | '.join(f'{card} ({gib} GiB)' for card, gib in CARDS.items())} |"]
    table.append("|---" * (len(CARDS) + 2) + "|")
    for (name, setting), task in _rows().items():
        cells = [_cell(fit(task.chain, gib)) for gib in CARDS.values()]
        table.append(f"| {' | '.join([f'`{name}`', setting, *cells])} |")
    wanted = "\n".join(line.replace("|  |", "| |") for line in table)
    assert wanted in (ROOT / "infra/docs/models.md").read_text(), f"infra/docs/models.md is to say:\n{wanted}"


def test_a_plan_lists_the_networks_of_each_wave() -> None:
    """Of style on 40 GiB: FLUX.1 first, then Stable Cascade with what judges it."""
    found = fit(OUR_TASKS["style"].chain, 40)
    assert found
    lines = fit_lines(found)
    assert lines[0] == ("GPU memory", "wave 1 of 2: 36.2 of 40 GiB, a whole GPU, for flux")
    second = lines.index(("GPU memory", "wave 2 of 2: 19.2 of 40 GiB, a whole GPU, for rb_modulation, scores"))
    for start, stop, gib in ((1, second, 36.2), (second + 1, len(lines), 19.2)):
        heads, texts = zip(*lines[start:stop], strict=True)
        assert set(heads) == {""}
        assert sum(float(text.split()[0]) for text in texts) == pytest.approx(gib, abs=0.3)
    assert ("", "  8.9 T5-XXL") in lines[:second]


def test_a_recipe_has_a_row_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    chains = {name: _painting(name).chain for name in ("style", "composition", "editing")}
    found = {name: one for name, chain in chains.items() if (one := fit(chain, 30))}
    Console(width=300).print(fit_table(found))
    rows = [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows[0][:2] == ["style", "refused"] and rows[0][2].startswith("flux needs 36.2 GiB")
    assert rows[1] == ["composition", "compose, scores, scores", "9.2 of 30 GiB, 0.35 of a GPU"]
    assert rows[2][:2] == ["editing", "refused"]
    waves = fit(chains["style"], 40)
    assert waves
    Console(width=300).print(fit_table({"style": waves}))
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["style", "rb_modulation,"]


def test_a_task_on_cpus_has_nothing_to_fit() -> None:
    assert fit(OUR_TASKS["derain"].chain, 1) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), r"GPU memory +40\.5 of 80 GiB, a whole GPU, for complete\n +22\.2 Fill's transformer\n +8\.9 T5-XXL\n"),
        (("--gpu-gib", "24"), r"GPU memory +a run would be refused: complete needs 40\.5 GiB .*one has 24: .*sd15\n"),
    ],
)
def test_the_command_says_it(given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    models = tiny_models("flux-fill")
    assert main(["plan", "mimicbrush", "--models", models, "--generator", "flux", *given]) == 0
    assert re.search(said, capsys.readouterr().out)
