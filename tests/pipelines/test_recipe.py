from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from manifests.schema import NOTHING_KEPT
from manifests.verify.dataset import verify
from operators.models import checkpoints
from operators.vlm.request import Usage
from pipelines.full_8m import main
from pipelines.recipe import FULL_8M, Entry, Outcome, read_recipe, weights
from pipelines.run import dataset, engine, session
from pipelines.run.made import Made
from pipelines.run.plan import Job
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.run.watch import Watch
from tests.commands import ROOT
from tests.fixtures import write_data_root
from tests.sources import write_photos, write_rain13k
from tests.tiny import few_steps, tiny_models

PRINTED = {
    "denoise": (72_000, 4),
    "deblur": (17_000, 4),
    "derain": (13_000, 4),
    "retouch": (5_000, 4),
    "lowlight": (6_000, 4),
    "text2img": (500_000, 2),
    "ultraedit": (500_000, 4),
    "magicbrush": (1_700, 4),
    "depth": (48_000, 4),
    "segmentation": (20_000, 4),
    "normal": (260_000, 4),
    "depth2img": (100_000, 4),
    "seg2img": (100_000, 4),
    "normal2img": (100_000, 4),
    "hed2img": (100_000, 4),
    "mlsd2img": (100_000, 4),
    "style": (10_000, 1),
    "composition": (50_000, 1),
    "tryon": (120_000, 1),
    "pose": (10_000, 1),
    "mimicbrush": (50_000, 1),
}
"""Tab. 6 and Tab. 7: pairs, and examples a pair."""


def test_the_recipe_has_the_lines_of_the_papers_tables() -> None:
    assert {entry.task: (entry.pairs, entry.factor) for entry in FULL_8M} == PRINTED
    assert len(FULL_8M) == 21


@pytest.mark.parametrize(("option", "value"), [("--split", "test"), ("--palette", "unseen")])
def test_a_recipe_makes_nothing_that_is_evaluated_on(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data-root", str(tmp_path), "--plan", option, value]) == 2
    error = capsys.readouterr().err
    assert "xprompt shards" in error and value in error and error.count("\n") == 1


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[datasets]]\ntask = "derain"\nsource = "Rain13K"\npairs = 13_000\nfactor = 4\nweight = 0.5\n\n'
        '[[datasets]]\ntask = "own.py:TASK"\ndata = "photos/outdoor"\npairs = 9\nskip = 3\noptions = { size = 64 }\n\n'
        '[[datasets]]\ntask = "pose"\ndata = ["people", "photos"]\n'
    )
    assert read_recipe(str(file)) == (
        Entry(task="derain", source="Rain13K", pairs=13_000, factor=4, weight=0.5),
        Entry(task=f"{tmp_path}/own.py:TASK", data=("photos/outdoor",), pairs=9, skip=3, options={"size": 64}),
        Entry(task="pose", data=("people", "photos")),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no [[datasets]]"),
        (
            "[[datasets]]\nname = 'x'",
            "a dataset has no name; it has data, factor, options, pairs, skip, source, task, weight",
        ),
        ("[[datasets]]\npairs = 1", "each has a task"),
        ("[[datasets]]\ntask = 5", "task and source of a dataset are names"),
        ("[[datasets]]\ntask = 'derain'\nsource = ['Rain13K']", "task and source of a dataset are names"),
        ("[[datasets]]\ntask = 'derain'\ndata = [1]", "data of derain is a folder, or a list of folders"),
        ("[[datasets]]\ntask = 'derain'\ndata = 1", "'int' object is not iterable"),
        ("datasets = 5", "'int' object is not iterable"),
        ("datasets = [1]", "'int' object has no attribute"),
        ("a = " + "[" * 50_000, "it is no TOML"),
        ("a = " + "9" * 5_000, "it is no TOML"),
        ("[[datasets]]\n" + "x" * 100_000 + " = 1", "of 100,"),
        ("datasets = []", "it has no"),
        ("[[", "Invalid"),
        ("[[datasets]]\ntask = 'derain'\npairs = 'many'", "pairs of derain is 'many', not a whole number from 0 on"),
        ("[[datasets]]\ntask = 'derain'\nskip = 5", "derain skips 5 pairs, which it can only with"),
        ("[[datasets]]\ntask = 'derain'\nskip = -1", "skip of derain is -1"),
        ("[[datasets]]\ntask = 'derain'\nweight = 2", "weight of derain is 2, not a share"),
        ("[[datasets]]\ntask = 'derain'\noptions = 'size'", "options of derain must be a table"),
        ("[[datasets]]\ntask = 'derain'\nweight = 1.0\n[[datasets]]\ntask = 'denoise'", "its weights add up to 1,"),
    ],
)
def test_what_is_no_recipe_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match="is no recipe") as caught:
        read_recipe(str(file))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def _outcome(
    pairs: int, factor: int, made: int, examples: int, held_out: int = 0, weight: float | None = None
) -> Outcome:
    entry = Entry(task="x", pairs=pairs, factor=factor, weight=weight)
    return Outcome(entry=entry, pairs=made, examples=examples, held_out=held_out, examples_a_pair=4)


def test_a_dataset_weighs_what_the_table_counts_less_what_was_not_made() -> None:
    whole = _outcome(100, 4, 100, 400)
    assert weights([whole, _outcome(300, 4, 300, 1_200)]) == [0.25, 0.75]
    # Half of its examples wait for a model, or a hold-out has dropped them, or half of its pairs are held out.
    assert weights([whole, _outcome(200, 4, 200, 400)]) == [0.5, 0.5]
    assert weights([whole, _outcome(200, 4, 100, 400, held_out=100)]) == [0.5, 0.5]
    # A source has a tenth of the pairs that the table counts, or gates reject the others: the mixture stays.
    assert weights([whole, _outcome(100, 4, 10, 40)]) == [0.5, 0.5]
    # The recipe counts no pairs: the examples that were made.
    assert weights([whole, _outcome(0, 1, 300, 1_200)]) == [0.25, 0.75]


def test_a_weight_of_the_recipe_is_the_share_itself() -> None:
    others = [_outcome(100, 4, 100, 400), _outcome(300, 4, 300, 1_200)]
    assert weights([_outcome(7, 1, 7, 7, weight=0.2), *others]) == pytest.approx([0.2, 0.2, 0.6])
    # Without others they are in proportion.
    assert weights([_outcome(7, 1, 7, 7, weight=0.2), _outcome(7, 1, 7, 7, weight=0.6)]) == pytest.approx([0.25, 0.75])


def test_a_dataset_without_examples_has_no_share() -> None:
    assert weights([_outcome(100, 4, 0, 0), _outcome(100, 4, 100, 400)]) == [0, 1]
    assert weights([_outcome(100, 4, 0, 0, weight=0.5), _outcome(100, 4, 100, 400)]) == [0, 1]
    assert weights([_outcome(100, 4, 0, 0)]) == [0]


@pytest.mark.usefixtures("local_ray")
def test_a_recipe_makes_tasks_of_ours_and_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rain13k(tmp_path / "root/Rain13K", 6)
    write_photos(tmp_path / "root/outdoor", 4)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[[datasets]]\ntask = "derain"\npairs = 4\nfactor = 4\n\n'
        '[[datasets]]\ntask = "infra.examples.dehaze:DEHAZE"\ndata = "outdoor"\noptions = { strength = 2.5 }\n\n'
        '[[datasets]]\ntask = "lowlight"\n'
    )
    arguments = ["--recipe", str(recipe), "--data-root", str(tmp_path / "root"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--plan"]) == 0
    planned = capsys.readouterr().out
    assert "lowlight: left out, lowlight is not below" in planned
    assert re.search(r"derain +Rain13K +4 +6 +4 +4 ", planned)
    assert "The paper speaks of" not in planned
    every = ["--strength", "1.5", "--hold-out", "derain", "--size", "64"]
    assert main([*arguments, *every]) == 0
    assert [finding.message for finding in verify(str(tmp_path / "out"))] == []
    made = json.loads((tmp_path / "out/recipe.json").read_text())
    assert made["recipe"] == "mine"
    # derain: a quarter is held out, another waits for a model; dehaze counts no pairs, and has 16 examples.
    counted = 4 * 4 * 1 / 4
    assert [(one["task"], one["pairs"], one["examples"], one["weight"]) for one in made["datasets"]] == [
        ("derain", 4, 4, round(counted / (counted + 16), 6)),
        ("dehaze", 4, 16, round(16 / (counted + 16), 6)),
    ]
    config = json.loads((tmp_path / "out/dehaze/dataset.json").read_text())["config"]
    assert [config["operators"][0]["name"], config["operators"][1]["strength"]] == ["resize", 2.5]
    config = json.loads((tmp_path / "out/derain/dataset.json").read_text())["config"]
    assert config["operators"][-1]["name"].startswith("hold_out")
    assert all(one["name"] != "resize" for one in config["operators"])  # its pairs stay as they are


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MODELS=tiny, of few steps."""
    folder = tiny_models(
        "flux", "stable-cascade", "csd", "clip", "dino", "sd15", "sd15-controlnet-openpose", "sd15-inpaint",
        "sd15-tryon", "sd15-ip-adapter", "blazepose", "hed", "depth-anything", "segformer-ade20k",
    )  # fmt: skip
    monkeypatch.setattr(checkpoints, "TINY", Path(folder))
    few_steps(monkeypatch, 2)


@pytest.mark.usefixtures("models")
def test_the_plan_has_every_line_of_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_data_root(tmp_path / "root")
    assert main(["--data-root", str(root), "--models", "tiny", "--plan"]) == 0
    lines = _lines(capsys.readouterr().out)
    there = {
        "denoise": ("DFWB", 4),
        "deblur": ("GoPro", 4),
        "derain": ("Rain13K", 7),
        "retouch": ("MIT-Adobe FiveK (FiveK/)", 4),
        "lowlight": ("LOL v1 (LOL/)", 4),
        "text2img": ("LAION-Aesthetics", 7),
        "ultraedit": ("UltraEdit (UltraEdit_500k/)", 8),
        "magicbrush": ("MagicBrush", 6),
        "depth": ("NYU Depth v2 sync (NYU-v2/)", 6),
        "segmentation": ("ADE20K", 6),
        "normal": ("ScanNet", 6),
        "depth2img": ("LAION-Aesthetics", 7),
        "seg2img": ("LAION-Aesthetics", 7),
        "normal2img": ("ScanNet", 6),
        "hed2img": ("LAION-Aesthetics", 7),
        "mlsd2img": ("LAION-Aesthetics", 7),
        "style": ("prompts", 10_000),
        "composition": ("photos", 6),  # each of three beside each other one
        "tryon": ("VITON-HD", 25),  # of five persons each in the garment of each
        "pose": ("photos of people (people/)", 12),  # four persons in the pose of each of three
        "mimicbrush": ("clips (frames/)", 6),
    }
    assert lines == {task: (made_of, PRINTED[task][0], count) for task, (made_of, count) in there.items()}


@pytest.mark.usefixtures("models")
def test_without_folders_of_photos_others_and_prompts_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data_root(tmp_path / "root")
    for folder in ("people", "photos", "frames", "NYU-v2"):
        shutil.rmtree(root / folder)
    assert main(["--data-root", str(root), "--models", "tiny", "--plan"]) == 0
    out = capsys.readouterr().out
    lines = _lines(out)
    assert lines["pose"] == ("prompts", 10_000, 10_000)
    assert lines["composition"] == ("DFWB", 50_000, 12)
    assert lines["mimicbrush"] == ("LAION-Aesthetics", 50_000, 7)
    assert lines["depth"] == ("nothing", 48_000, 0)
    assert "depth: left out, NYU-v2 is not below" in out
    assert "composition: 12 of 50,000 pairs, all that there are" in out


def test_without_models_the_plan_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_data_root(tmp_path / "root")
    assert main(["--data-root", str(root), "--plan"]) == 0
    out = capsys.readouterr().out
    lines = _lines(out)
    assert {task: wanted for task, (_, wanted, _) in lines.items()} == {
        task: pairs for task, (pairs, _) in PRINTED.items()
    }
    assert lines["hed2img"] == ("LAION-Aesthetics", 100_000, 7) and "hed2img: left out, hed (" in out
    assert lines["seg2img"] == ("LAION-Aesthetics", 100_000, 7) and "seg2img: left out, segformer-ade20k (" in out
    assert lines["style"] == ("prompts", 10_000, 10_000) and "style: left out, flux (" in out
    assert lines["tryon"] == ("VITON-HD", 120_000, 5)  # what nobody can paint is not counted
    assert "tryon: 5 of 120,000 pairs, all that there are without models to make more" in out


@pytest.mark.usefixtures("models")
def test_a_trial_makes_all_datasets_of_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_data_root(tmp_path / "root")
    _without_ray(monkeypatch)
    out = tmp_path / "out"
    options = ["--models", "tiny", "--scale", "0.6", "--count", "5", "--seed", "1"]
    assert main(["--data-root", str(root), "--out", str(out), *options]) == 0
    assert [finding.message for finding in verify(str(out))] == []
    made = {one["task"]: one for one in json.loads((out / "recipe.json").read_text())["datasets"]}
    assert made.keys() == PRINTED.keys()
    assert {task: one["pairs"] for task, one in made.items() if task in ("style", "pose", "composition")} == {
        "style": 3,
        "pose": 8,  # two groups of the three
        "composition": 3,
    }
    assert sum(one["weight"] for one in made.values()) == pytest.approx(1, abs=1e-4)
    # Half of what waits for a model is missing in both; the table has 13K and 17K pairs.
    assert made["derain"]["weight"] / made["deblur"]["weight"] == pytest.approx(13 / 17, rel=1e-3)
    assert made["denoise"]["weight"] / made["deblur"]["weight"] == pytest.approx(2 * 72 / 17, rel=1e-3)


@pytest.mark.usefixtures("models")
def test_a_dataset_without_examples_is_left_out_of_the_recipe_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is found in what random weights draw."""
    _without_ray(monkeypatch)
    write_rain13k(tmp_path / "root/Rain13K", 2)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[[datasets]]\ntask = "derain"\n\n[[datasets]]\ntask = "pose"\npairs = 10_000\noptions = { count = 1 }\n'
    )
    out = tmp_path / "out"
    arguments = ["--recipe", str(recipe), "--data-root", str(tmp_path / "root"), "--models", "tiny"]
    assert main([*arguments, "--out", str(out)]) == NOTHING_KEPT
    printed = capsys.readouterr()
    assert "pose: not in recipe.json, it has no examples" in printed.out
    assert "xprompt recipe: pose: nothing was kept, of 1 rejected items 1 were no_person by" in printed.err
    (derain,) = json.loads((out / "recipe.json").read_text())["datasets"]
    assert (derain["task"], derain["weight"]) == ("derain", 1)
    assert (out / "pose/dataset.json").exists()


@pytest.mark.parametrize(
    ("table", "arguments", "said"),
    [
        ("", ["--strenth", "1"], "no dataset of the recipe has an option --strenth: did you mean --strength?"),
        ("", ["--scale", "1%"], "--scale: 1% is not a share above 0 and up to 1"),
        ("", ["--keep", "all"], "--keep: no dataset of the recipe can take all"),
        ("", ["--generator", "flux"], "no dataset of the recipe has an option --generator"),
        ('task = "derain"', [], "has 2 datasets of the task derain"),
        ('task = "pose"\noptions = { generatr = "flux" }', [], "pose has no option generatr: did you mean generator?"),
        ('task = "pose"\noptions = { generator = "dall-e" }', [], "--generator: dall-e is none of"),
        ('task = "pose"\noptions = { count = "many" }', [], "--count"),
        ('task = "pose"\noptions = { out = "x" }', [], "pose cannot have an option out of its own"),
        ('task = "lowlight"\nsource = "LoL"', [], "lowlight has no source LoL: did you mean LOL?"),
    ],
)
def test_what_no_dataset_can_take_is_one_line_with_the_nearest_name(
    table: str, arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.toml"
    entries = ['task = "derain"', 'task = "infra.examples.dehaze:DEHAZE"', *([table] if table else [])]
    recipe.write_text("\n".join(f"[[datasets]]\n{entry}\n" for entry in entries))
    assert main(["--recipe", str(recipe), "--data-root", str(tmp_path), "--plan", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_where_nothing_is_ready_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-root", str(tmp_path / "root"), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert f"no source of the recipe is ready below {tmp_path}/root: see --plan" in printed.err
    assert printed.out.count(": left out, ") == 21 and not (tmp_path / "out").exists()


def test_a_plan_inside_a_submitted_job_needs_no_place_for_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    write_rain13k(tmp_path / "Rain13K", 2)
    arguments = ["--data-root", str(tmp_path), "--out", "data"]
    assert main([*arguments, "--plan"]) == 0
    assert main(arguments) == 2
    assert "OUT=data is relative" in capsys.readouterr().err


def test_the_example_of_a_recipe_in_the_docstring_is_one(tmp_path: Path) -> None:
    text = (ROOT / "pipelines/recipe.py").read_text().split("copy it to begin.\n")[1].split("A task whose")[0]
    file = tmp_path / "doc.toml"
    file.write_text(text)
    assert [entry.task for entry in read_recipe(str(file))] == ["derain", f"{tmp_path}/tasks/dehaze.py:DEHAZE"]


def _lines(planned: str) -> dict[str, tuple[str, int, int]]:
    """Of the plan's table: what each task is made of, the pairs wanted, and the pairs there."""
    found = {}
    for line in planned.splitlines():
        if match := re.match(r" (\w+) +(\S.*?)  +([\d,]+) +([\d,]+) ", line):
            task, made_of, *counts = match.groups()
            if task in PRINTED:
                wanted, there = (int(count.replace(",", "")) for count in counts)
                found[task] = (made_of, wanted, there)
    return found


def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are made in this process, one after the other: workers would import torch for each dataset."""

    def run(jobs: Sequence[Job], watch: Watch, gpu_gib: float | None, gpus: int) -> None:
        for job in jobs:
            for unit in range(job.plan.units):
                spent = Spent()
                watch.on_made(job, Made(commit=make_unit(job, unit, spent), usage=Usage(), spent=spent))

    monkeypatch.setattr(session, "ray_session", lambda *given, **named: nullcontext())
    monkeypatch.setattr(dataset, "memory_of", lambda given, models: None)  # it asks a Ray
    monkeypatch.setattr(engine, "run", run)


def test_a_recipe_may_begin_with_a_byte_order_mark_and_lie_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "r.toml").write_bytes(b'\xef\xbb\xbf[[datasets]]\ntask = "dehaze.py:DEHAZE"\n')
    assert read_recipe("~/r.toml") == (Entry(task=f"{tmp_path}/dehaze.py:DEHAZE"),)
