"""The repository as a clone has it, and what is installed for it, in another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT

APART = {"MAKEFLAGS": ""}
"""Environment of a `make` that knows nothing of the one that runs the tests."""


def tracked_files() -> list[str]:
    """Paths, relative to the repository, of all files that are in a commit or would be in the next."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


def copy_repository(folder: Path) -> Path:
    """Copy the tracked files into a folder that does not exist yet; returns it."""
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def lend_packages(repository: Path) -> dict[str, str]:
    """Give a copy of the repository our packages as its .venv, so that its `make` has nothing to install.

    Returns what the environment of its commands needs, so that the copy's code runs and not ours.
    """
    (repository / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith("."):  # stamps and locks are the copy's own
            (repository / ".venv" / entry.name).symlink_to(entry)
    run_in(repository, "make", "--silent", "--touch", "check")  # calls all packages installed, and installs none
    return {**APART, "PYTHONPATH": str(repository), "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}


def run_in(repository: Path, *command: str, **env: str) -> str:
    """Run a short command there; returns what it printed. Fails if the command does."""
    done = subprocess.run(
        command, cwd=repository, env={**os.environ, **APART, **env}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
