"""The version of a release, which is written in four places: they must agree, or nothing is released.

uv_build takes the version from pyproject.toml and knows no tags, so it is written there by hand, and the tag is what is
checked. The other way round, a version that is derived from tags, an archive without .git could not be built, which is
what GitHub's "Source code" downloads and `git archive` are.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import yaml

_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
"""MAJOR.MINOR.PATCH, and aN, bN or rcN behind it for what is tried out: PEP 440, without what we do not use of it."""

_HEADING = re.compile(r"^## (\S+) \((\d{4}-\d{2}-\d{2})\)$")


def version_of(root: Path) -> str:
    """The version that pyproject.toml has. Raises ValueError, one line, if it is none that can be released."""
    version = str(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"])
    if not _VERSION.fullmatch(version):
        raise ValueError(f"pyproject.toml: {version} is no version like 1.2.3 or 1.2.3rc1")
    return version


def problems(root: Path) -> Iterator[str]:
    """Why the commit that is checked out cannot be released, a line each with the way out; nothing if it can."""
    version = version_of(root)
    yield from _of_citation(root, version)
    heading = _first_heading(root)
    matched = _HEADING.fullmatch(heading)
    if not matched or matched[1] != version:
        yield f'CHANGELOG.md: its first heading is "{heading}", and a release of {version} needs "## {version} (DATE)"'
    elif not _is_day(matched[2]):
        yield f"CHANGELOG.md: {matched[2]} is no day"
    elif matched[2] != (said := str(_citation(root).get("date-released"))):
        yield f"CITATION.cff: date-released is {said}, and CHANGELOG.md says {matched[2]}"
    tags = _git(root, "tag", "--points-at", "HEAD").split()
    if f"v{version}" not in tags:
        there = f"has the tag {', '.join(tags)}" if tags else "has no tag"
        yield f"git: this commit {there}, and pyproject.toml says {version}: git tag v{version}, when all else is right"
    if changed := _git(root, "status", "--porcelain"):
        first = changed.splitlines()[0][3:]
        yield f"git: {first} is not committed: a release is made of a commit, so commit it or put it away"


def problems_of_draft(root: Path) -> Iterator[str]:
    """Why not even a draft can be made: the places that a tag has nothing to do with."""
    yield from _of_citation(root, version := version_of(root))
    if version not in _first_heading(root):
        yield f'CHANGELOG.md: its first heading, "{_first_heading(root)}", does not name {version}'


def _of_citation(root: Path, version: str) -> Iterator[str]:
    if (said := _citation(root).get("version")) != version:
        yield f"CITATION.cff: version is {said}, and pyproject.toml says {version}"


def _citation(root: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "CITATION.cff").read_text("utf-8")))


def _first_heading(root: Path) -> str:
    lines = (root / "CHANGELOG.md").read_text("utf-8").splitlines()
    return next((line for line in lines if line.startswith("## ")), "")


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.rstrip("\n")
