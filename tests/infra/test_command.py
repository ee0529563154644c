"""The command as a user types it: what is wrong is one line, with the nearest name, before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra import command
from infra.command import PROGRAMS, main
from infra.docs.reference import commands, parser_of
from tests.commands import ROOT


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("shards derian", "xprompt shards: there is no task 'derian': did you mean derain? `xprompt tasks` lists"),
        ("shards Derain", "xprompt shards: there is no task 'Derain': did you mean derain? `xprompt tasks` lists"),
        ("shards", "xprompt shards: missing: task"),
        ("shards derain --sed 1", "xprompt shards: there is no option --sed: did you mean --seed?"),
        ("shards derain --seed abc", "xprompt shards: --seed: abc is not a whole number"),
        ("shards derain --scale 1%", "xprompt shards: --scale: 1% is not a share above 0 and up to 1, such as 0.01"),
        ("shards derain --keep som", "xprompt shards: --keep: som is none of judged, all"),
        ("shards TASK=derain DTAA=x", "xprompt shards: there is no variable DTAA: did you mean DATA?"),
        ("shards TASK=derain SCALE=1%", "xprompt shards: --scale: 1% is not a share above 0 and up to 1"),
        ("shards TASK=derain ESTIMATOR=dwpose", "xprompt shards: there is no variable ESTIMATOR:"),
        ("shrads derain", "xprompt: there is no command shrads: did you mean shards?"),
        (
            "tokens derain --out /nowhere",
            "xprompt tokens: /nowhere/derain is not a dataset directory: it has no",
        ),
        (
            "shards editing --models tiny",
            "xprompt shards: editing needs a vision-language model: set VLM and",
        ),
        ("shards nosuch.py:TASK", "xprompt shards: there is no file nosuch.py"),
        ("shards no_such_module:TASK", "xprompt shards: the module no_such_module cannot be loaded: ModuleNotFound"),
        (
            "shards pipelines.tasks.editing:EDTING",
            "xprompt shards: pipelines.tasks.editing:EDTING is not a task: it has",
        ),
        ("derive data/derain", "xprompt derive: missing: --out"),
        ("plan derain --generator flux", "xprompt plan: there is no option --generator"),
        ("recipe --sed 1", "xprompt recipe: no dataset of the recipe has an option --sed: did you mean --seed?"),
        ("recipe --scale 1%", "xprompt recipe: --scale: 1% is not a share above 0 and up to 1"),
        ("doctor derain --sed 1", "xprompt doctor: there is no option --sed: did you mean --seed?"),
        ("verify OUTT=data", "xprompt verify: there is no variable OUTT: did you mean OUT?"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(line) and printed.err.count("\n") == 1


def test_a_typo_starts_neither_ray_nor_torch() -> None:
    script = (
        "import sys; from infra.command import main; status = main(['shards', 'derain', '--seed', 'abc'])\n"
        "sys.exit(0 if status == 2 and not {'ray', 'torch'} & set(sys.modules) else 1)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tasks_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.tasks.catalogue import OUR_TASKS

    assert main(["tasks"]) == 0
    words = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert words >= set(OUR_TASKS)


def test_the_help_of_a_task_has_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shards", "pose", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "what pose itself lets you set" in printed and "--estimator" in printed and "--generator" in printed
    assert main(["shards", "derain", "--help"]) == 0
    assert "--estimator" not in capsys.readouterr().out


def test_variables_are_what_options_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "derain", "--scale", "0.1"]) == 0
    by_options = capsys.readouterr().out
    assert main(["plan", "SCALE=0.1", "TASK=derain", "VLM="]) == 0
    by_variables = capsys.readouterr().out
    for line in ("items               32", "pairs               about 32"):
        assert line in by_options and line in by_variables


@pytest.mark.parametrize("command", sorted(PROGRAMS))
def test_the_help_of_a_program_has_the_commands_name_and_starts_neither_ray_nor_torch(command: str) -> None:
    script = (
        "import sys; from infra.command import main; status = main(sys.argv[1:])\n"
        "sys.exit(3 if {'ray', 'torch'} & set(sys.modules) else status)"
    )
    asked = [sys.executable, "-c", script, command]
    done = subprocess.run([*asked, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: xprompt {command} ")


@pytest.mark.parametrize("command", sorted(PROGRAMS.keys() - {"doctor", "recipe", "retry"}))
def test_a_wrong_option_of_a_program_is_said_by_the_commands_name(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    required = {
        "contexts": ["data"],
        "demo": ["--out", "o"],
        "evaluate": ["--dataset", "data", "--predictions", "p"],
        "generate": ["--model", "m", "--instruction", "i"],
        "icl": ["--out", "o"],
        "predict": ["--dataset", "d", "--model", "m", "--out", "o"],
        "push": ["data", "alice/derain"],
        "reconstruct": ["--vqgan", "v", "--images", "i"],
    }
    assert main([command, *required.get(command, []), "--nosuch"]) == 2
    printed = capsys.readouterr()
    usage, error = printed.err.rstrip("\n").rsplit("\n", 1)
    assert printed.out == "" and usage.startswith(f"usage: xprompt {command} ")
    assert error == f"xprompt {command}: error: unrecognized arguments: --nosuch"


def test_a_recipe_with_tiny_models_writes_them_first_unless_something_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[bool] = []
    monkeypatch.setattr(command, "_write_tiny", lambda: written.append(True))
    plan = ["recipe", "--data-root", str(tmp_path), "--plan"]
    assert main([*plan, "--models", "tiny", "--sed", "1"]) == 2
    assert main(plan) == 0 and not written
    assert main([*plan, "--models", "tiny"]) == 0 and written == [True]
    assert capsys.readouterr().out.count("derain: left out, Rain13K is not below") == 2


def test_a_command_line_that_is_not_utf8_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray would not start, and say so in words of its own."""
    assert main(["shards", "derain", "--data", "caf\udce9"]) == 2
    assert "xprompt shards: caf\\xe9 is not UTF-8" in capsys.readouterr().err


def test_a_tilde_is_the_home_folder_wherever_a_path_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell expands it at the beginning of a word alone, and make passes OUT=~/x on as it is."""
    monkeypatch.setenv("HOME", "/home/me")
    for typed, meant in {
        "OUT=~/x": "OUT=/home/me/x",
        "--out=~/x": "--out=/home/me/x",
        "~/x": "/home/me/x",
        "~": "/home/me",
        "--database=~": "--database=/home/me",
        "OUT=a~/x": "OUT=a~/x",
        "--instruction=~ 5 apples": "--instruction=~ 5 apples",
        "~ 5 apples": "~ 5 apples",
        "s3://b/~/x": "s3://b/~/x",
    }.items():
        assert command.with_home(typed) == meant


@pytest.mark.parametrize("command", commands())
def test_the_beginning_of_an_options_name_is_not_taken_for_it(command: str) -> None:
    """It would mean another option as soon as there is one that begins the same."""
    assert not parser_of(command).allow_abbrev
