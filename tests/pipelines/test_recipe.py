from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests.verify.dataset import verify
from pipelines.full_8m import main
from pipelines.recipe import FULL_8M, TAB_6, Entry, read_recipe
from tests.commands import ROOT
from tests.sources import write_photos, write_rain13k


def test_the_papers_tables_add_up_to_what_they_print() -> None:
    assert sum(entry.pairs for entry in TAB_6) == 1_942_700
    assert len(FULL_8M) == 21


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[datasets]]\ntask = "derain"\npairs = 13_000\nfactor = 4\n\n'
        '[[datasets]]\ntask = "own.py:TASK"\ndata = "photos/outdoor"\n'
    )
    assert read_recipe(str(file)) == (
        Entry(task="derain", pairs=13_000, factor=4),
        Entry(task=f"{tmp_path}/own.py:TASK", data="photos/outdoor"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'datasets'"),
        ("[[datasets]]\nname = 'x'", "a dataset has no name; it has data, factor, pairs, source, task"),
        ("[[datasets]]\npairs = 1", "'task'"),
        ("datasets = []", "it has no"),
        ("[[", "Invalid"),
    ],
)
def test_what_is_no_recipe_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match="is no recipe") as caught:
        read_recipe(str(file))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("local_ray")
def test_a_recipe_makes_tasks_of_ours_and_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rain13k(tmp_path / "root/Rain13K", 4)
    write_photos(tmp_path / "root/outdoor", 4)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        '[[datasets]]\ntask = "derain"\npairs = 30\n\n'
        '[[datasets]]\ntask = "infra.examples.dehaze:DEHAZE"\ndata = "outdoor"\n\n'
        '[[datasets]]\ntask = "lowlight"\n'
    )
    arguments = ["--recipe", str(recipe), "--data-root", str(tmp_path / "root"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--plan"]) == 0
    assert "lowlight: left out, lowlight is not below" in capsys.readouterr().out
    every = ["--strength", "2.5", "--hold-out", "derain", "--keep", "all", "--size", "64"]
    assert main([*arguments, *every]) == 0
    assert [finding.message for finding in verify(str(tmp_path / "out"))] == []
    made = json.loads((tmp_path / "out/recipe.json").read_text())
    assert made["recipe"] == "mine"
    assert [(one["task"], one["weight"]) for one in made["datasets"]] == [
        ("derain", round(30 / 46, 6)),
        ("dehaze", round(16 / 46, 6)),
    ]
    config = json.loads((tmp_path / "out/dehaze/dataset.json").read_text())["config"]
    assert [config["operators"][0]["name"], config["operators"][1]["strength"]] == ["resize", 2.5]
    config = json.loads((tmp_path / "out/derain/dataset.json").read_text())["config"]
    assert config["operators"][-1]["name"].startswith("hold_out")
    assert all(one["name"] != "resize" for one in config["operators"])  # its pairs stay as they are


def test_the_example_of_a_recipe_in_the_docstring_is_one(tmp_path: Path) -> None:
    text = (ROOT / "pipelines/recipe.py").read_text().split("each dataset:\n")[1].split('"""')[0]
    file = tmp_path / "doc.toml"
    file.write_text(text)
    assert [entry.task for entry in read_recipe(str(file))] == ["derain", f"{tmp_path}/tasks/dehaze.py:DEHAZE"]
