"""The README's commands that are marked as runnable, as they are typed, in a copy of the repository."""

from __future__ import annotations

import re
from pathlib import Path

from tests.commands import ROOT, Running
from tests.ports import free_port
from tests.repository import copy_repository, lend_packages

RUNNABLE = re.compile(r"^<!-- runnable -->\n+```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block of commands below a mark that a reader of the page does not see."""


def runnable(text: str) -> list[tuple[int, str]]:
    """Line and commands of each marked block. In a transcript the commands are what follows `$ `."""
    blocks = []
    for match in RUNNABLE.finditer(text):
        typed = re.findall(r"^\$ (.*)$", match[1], re.MULTILINE)
        line = text.count("\n", 0, match.start(1)) + 1
        blocks.append((line, "\n".join(typed) or match[1]))
    return blocks


def test_marked_blocks_run_from_top_to_bottom(tmp_path: Path) -> None:
    """In one folder, as somebody does who follows the page: a later block may need what an earlier one made."""
    text = (ROOT / "README.md").read_text()
    blocks = runnable(text)
    assert len(blocks) == text.count("<!-- runnable -->") >= 2
    repository = copy_repository(tmp_path / "repository")
    env = lend_packages(repository)
    for line, commands in blocks:
        with Running(
            ["bash", "-euo", "pipefail", "-c", commands], {**env, "PORT": str(free_port())}, repository
        ) as running:
            done = running.wait()
        assert done.returncode == 0, f"README.md:{line}\n{commands}\n{done.stdout}\n{done.stderr}"


def test_a_block_is_marked_by_the_line_above_it() -> None:
    commands = "a\n<!-- runnable -->\n```\nmake b  # c\nmake d\n```\n"
    transcript = "```\nmake e\n```\n<!-- runnable -->\n```\n$ make f\ng\n```\n"
    assert runnable(commands + transcript) == [(4, "make b  # c\nmake d\n"), (12, "make f")]
