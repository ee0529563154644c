"""Reads a Containerfile: the steps that a target is built by, and which files of its context they may copy."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.commands import ROOT

CONTAINERFILE = ROOT / "infra" / "container" / "Containerfile"

WORDS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "LABEL", "RUN", "SHELL", "USER", "WORKDIR"}
"""Instructions that are understood here; any other one is an error, so that no step is passed over."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction of a Containerfile."""

    word: str
    text: str
    """What follows the word, continued lines joined as a shell joins them."""

    @property
    def pairs(self) -> dict[str, str]:
        """The NAME=value pairs of ENV, LABEL and ARG; an ARG without a value has an empty one."""
        found = re.findall(r'([\w.]+)(?:=(?:"([^"]*)"|(\S*)))?(?:\s+|$)', self.text)
        return {name: quoted or plain for name, quoted, plain in found}

    @property
    def words(self) -> list[str]:
        """The arguments of the JSON form (ENTRYPOINT, CMD, SHELL), or those that spaces part (COPY)."""
        if self.text.startswith("["):
            words: list[str] = json.loads(self.text)
            return words
        return self.text.split()


def read_steps(text: str) -> list[Step]:
    """All instructions of a Containerfile, in order. Raises ValueError for one that is not understood here."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    steps = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if not word:
            continue
        if word not in WORDS or rest.startswith("--"):
            raise ValueError(f"this reader knows no {line.strip()[:60]}")
        steps.append(Step(word=word, text=rest.strip()))
    return steps


def steps_of(target: str, text: str | None = None) -> tuple[str, list[Step]]:
    """The image that a target begins from, and all steps from there to it, those of the stages it stands on first."""
    stages: dict[str, tuple[str, list[Step]]] = {}
    for step in read_steps(CONTAINERFILE.read_text() if text is None else text):
        if step.word == "FROM":
            base, _, name = step.text.partition(" AS ")
            stages[name] = (base, [])
        else:
            list(stages.values())[-1][1].append(step)
    base, steps = stages[target]
    if base not in stages:
        return base, steps
    first, before = steps_of(base, text)
    return first, [*before, *steps]


def substituted(text: str, variables: Mapping[str, str]) -> str:
    """What a builder makes of $NAME and ${NAME} in ENV, LABEL, WORKDIR, USER and COPY."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], ""), text)


def context_files(ignore: Sequence[str], names: Sequence[str]) -> list[str]:
    """Which files of a repository are in the context, by the lines of .dockerignore: the last one that matches wins."""
    kept = []
    for name in names:
        above = [name, *(str(parent) for parent in Path(name).parents if str(parent) != ".")]
        is_ignored = False
        for line in ignore:
            pattern = line.removeprefix("!")
            forms = [pattern, pattern.removeprefix("**/")]
            if any(_matches(path, form) for path in above for form in forms) or (
                pattern.startswith("**/") and any(fnmatch.fnmatchcase(part, forms[1]) for part in Path(name).parts)
            ):
                is_ignored = not line.startswith("!")
        if not is_ignored:
            kept.append(name)
    return kept


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern of .dockerignore, in which * stands for no slash, names a path."""
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)
