"""The commands and programs on the pages: all can be typed as they stand, and those that can be run here are run."""

from __future__ import annotations

import ast
import importlib.util
import re
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from infra import command
from infra.doctor.asked import asked_for
from pipelines import full_8m, retry_command
from pipelines.recipe import PAPER
from tests.commands import ROOT
from tests.pages import NOT_RUN, Block, all_blocks, run_in_order, typed

OTHERS = {
    *("cat", "cd", "cp", "df", "do", "done", "echo", "export", "fi", "find", "for", "git", "grep", "head", "if", "jq"),
    *("ls", "mkdir", "mv", "pip", "python", "rm", "scp", "set", "sha256sum", "source", "ssh", "sudo", "tail", "tar"),
    *("curl", "hf", "nvidia-smi", "ray", "torchrun", "transformers", "true", "watch", "while"),
    *("sacct", "sacctmgr", "salloc", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"),
    *("helm", "kind", "kubectl"),
    *("apptainer", "docker", "podman", "singularity"),
    *("grafana-server", "prometheus", "promtool"),
}
"""Programs that are not ours: that they are typed rightly is not tested."""

SHELL_ONLY = ("infra/", "./", "/", "~/")
"""A command that begins so is a file, which is there where it is ours."""


class Parsed(BaseException):
    """A parser of ours has taken the arguments."""


def _stop_when_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ArgumentParser.parse_args

    def parse_args(self: ArgumentParser, *given: Any) -> None:
        real(self, *given)
        raise Parsed

    monkeypatch.setattr(ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(retry_command, "_named", lambda arguments: None)  # it would look into the dataset


def _parse(arguments: Sequence[str]) -> None:
    """Parse what follows `xprompt`, and do nothing of it. Raises SystemExit or ValueError for what is refused."""
    name = arguments[0]
    if name in command.PROGRAMS:
        if name == "recipe":
            there = [PAPER if re.fullmatch(r"\w+\.toml", one) else one for one in arguments[1:]]
            full_8m.asked_for(there, "xprompt recipe")
            return
        if name == "doctor":
            asked_for(arguments[1:], "xprompt doctor")
            return
        with pytest.raises(Parsed):
            command.main([*arguments])
        return
    parser = command._parser(arguments)
    _, unknown = parser.parse_known_args(command._typed(parser, arguments))
    assert not unknown, unknown


def _check_make(words: Sequence[str]) -> None:
    """A target that is there, with variables that it, or the command that it stands for, has."""
    makefile = (ROOT / "Makefile").read_text()
    targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
    variables = [word for word in words[1:] if "=" in word]
    for target in targets:
        (rule,) = re.findall(rf"^{re.escape(target)}:.*\n((?:\t.*\n)*)", makefile, re.MULTILINE)
        if "$(GIVEN)" in rule:
            theirs = [one for one in variables if not one.startswith(("PYTHON=", "VENV="))]
            _parse([target, *theirs])
        else:
            for one in variables:
                assert re.search(rf"\b{one.partition('=')[0]}\b", makefile), one


def _check(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program = words[0].removeprefix(".venv/bin/")
    if program == "xprompt":
        _parse(words[1:])
    elif program == "make":
        _check_make(words)
    elif program == "python" and words[1:2] == ["-m"]:
        assert importlib.util.find_spec(words[2]), words[2]
    elif program.startswith("infra/"):
        assert (ROOT / program).is_file(), program
    else:
        assert program in OTHERS or program.startswith(SHELL_ONLY), program


def _with_commands() -> list[Block]:
    return [block for block in all_blocks() if block.language in ("bash", "console")]


@pytest.mark.parametrize("block", _with_commands(), ids=str)
def test_each_command_is_one_that_can_be_typed(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the parsers of the commands themselves: an option that is renamed is noticed here."""
    _stop_when_parsed(monkeypatch)
    monkeypatch.chdir(ROOT)
    for words in typed(block.commands):
        try:
            _check(words, monkeypatch)
        except (AssertionError, SystemExit, ValueError) as error:
            raise AssertionError(f"{block}: {' '.join(words)}: {error}") from error


@pytest.mark.parametrize(
    "typed_wrongly",
    [
        "xprompt shards derain --sacle 0.1",
        "xprompt shrads derain",
        "xprompt train --no-such-option 1",
        "xprompt generate --model m --instruction i --no-such",
        "xprompt recipe --no-such-option",
        "xprompt retry data/derain --no-such",
        "xprompt doctor derain --no-such",
        "make shards TASK=derain DTAA=/data",
        "make no-such-target",
        "python -m infra.no_such",
        "infra/no/such.sh",
        "xpromt ls",
    ],
)
def test_what_cannot_be_typed_is_noticed(typed_wrongly: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _stop_when_parsed(monkeypatch)
    monkeypatch.chdir(ROOT)
    (words,) = typed(typed_wrongly)
    with pytest.raises((AssertionError, SystemExit, ValueError, pytest.fail.Exception)):
        _check(words, monkeypatch)


def test_a_command_of_a_transcript_goes_on_after_a_backslash() -> None:
    text = "$ sbatch --nodes=4 \\\n    xprompt shards\nSubmitted\n$ squeue\n"
    block = Block(page=ROOT / "README.md", line=1, language="console", mark="", text=text)
    assert [*typed(block.commands)] == [["sbatch", "--nodes=4", "xprompt", "shards"], ["squeue"]]


def test_commands_are_told_apart() -> None:
    text = "A=1 make b  # c\nmake d && make e \\\n    F=2 | cat\npython - <<'END'\nmake g\nEND\nmake h 'i && j'\n"
    assert list(typed(text)) == [
        ["make", "b"],
        ["make", "d"],
        ["make", "e", "F=2"],
        ["cat"],
        ["python", "-"],
        ["make", "h", "i && j"],
    ]


def test_what_is_not_run_says_why() -> None:
    marks = {block.mark.removeprefix("not run: ") for block in all_blocks() if block.mark.startswith("not run")}
    assert {one for mark in marks for one in mark.split(", ")} <= {*NOT_RUN}


def test_blocks_of_commands_are_of_one_of_two_languages() -> None:
    """A block without a language is neither checked nor run."""
    assert [str(block) for block in all_blocks() if block.language in ("", "sh", "shell")] == []


@pytest.mark.parametrize("block", [one for one in all_blocks() if one.language == "python"], ids=str)
def test_programs_compile_and_what_they_import_is_there(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            assert all(importlib.util.find_spec(one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            module = importlib.import_module(node.module)
            assert all(hasattr(module, one.name) for one in node.names), ast.unparse(node)


@pytest.mark.infra
@pytest.mark.timeout(1800)
def test_the_pages_can_be_followed_from_the_first_to_the_last(tmp_path: Path) -> None:
    """All that is not marked as not run, in one folder, as somebody does who reads the site."""
    told = [
        one for one in all_blocks() if one.mark == "runnable" or (one.language in ("bash", "python") and not one.mark)
    ]
    failed = run_in_order(told, tmp_path / "repository")
    assert not failed, "\n".join(failed)
