"""The README and the documents' pages as tests read them: blocks of code with their marks, in the order of the site."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.slurm.ports import free_port
from tests.commands import ROOT, Running
from tests.repository import copy_repository, lend_packages

DOCS = ROOT / "infra/docs"

NOT_RUN = (
    *("needs data", "needs GPU", "needs cluster", "needs network", "needs a pair's key"),
    *("takes long", "does not end"),
)
"""Why a block of commands is not run: `<!-- not run: needs data -->` above it. Several are separated by commas."""

_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>runnable|not run: [^>]*?) -->\n+)?"
    r"(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_HEREDOC = re.compile(r"<<-?'?(\w+)'?")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    """What stands behind the three backticks: `bash` for commands, `console` for a transcript, or another language."""
    mark: str
    """`runnable`: `make test` runs it. `not run: REASON`: nothing does. Else `make infra-test` runs what is bash or
    Python."""
    text: str

    @property
    def commands(self) -> str:
        """What is typed: in a transcript what follows `$ `."""
        if self.language == "console":
            return "\n".join(re.findall(r"^\$ (.*?(?:\\\n.*?)*)$", self.text, re.MULTILINE))
        return self.text

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def site() -> dict[str, Any]:
    """The site's settings."""
    project: dict[str, Any] = tomllib.loads((DOCS / "zensical.toml").read_text())["project"]
    return project


def pages() -> list[Path]:
    """The README, then the pages as the site's navigation lists them."""
    return [ROOT / "README.md", *(DOCS / name for name in _named(site()["nav"]))]


def _named(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for one in entry.values() if isinstance(entry, dict) else entry:
            yield from _named(one)


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, from top to bottom."""
    text = page.read_text()
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            mark=match["mark"] or "",
            text=re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
        )
        for match in _BLOCK.finditer(text)
    ]


def all_blocks() -> list[Block]:
    """The blocks of all pages."""
    return [block for page in pages() for block in blocks_of(page)]


def typed(commands: str) -> Iterator[list[str]]:
    """The words of each single command of a shell's text: without comments, variables set for it, and what a here
    document holds. Raises ValueError for text that no shell reads."""
    lines, kept, end = commands.splitlines(), [], ""
    for line in lines:
        if end:
            end = "" if line.strip() == end else end
            continue
        if found := _HEREDOC.search(line):
            end, line = found[1], _HEREDOC.sub("", line)
        kept.append(line)
    for line in "\n".join(kept).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and not word.strip("&|;"):
                while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0]):
                    del words[0]
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def run_in_order(blocks: Sequence[Block], repository: Path) -> list[str]:
    """Run blocks in a copy of the repository, made at a path that is not there yet: what each that fails has printed.

    In one folder, since a later block may need what an earlier one made; one with the same commands is run once.
    """
    copy_repository(repository)
    env = lend_packages(repository)
    env["PATH"] = f"{repository}/.venv/bin:{os.environ['PATH']}"  # as `source .venv/bin/activate` does
    failed = []
    first: dict[str, Block] = {}
    for block in blocks:
        first.setdefault(block.commands, block)
    for commands, block in first.items():
        interpreter = ["python"] if block.language == "python" else ["bash", "-euo", "pipefail"]
        with Running([*interpreter, "-c", commands], {**env, "PORT": str(free_port())}, repository) as running:
            done = running.wait()
        if done.returncode:
            failed.append(f"{block}\n{commands}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return failed
