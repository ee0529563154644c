"""What a release stands on: a bill of materials (SBOM, CycloneDX) and the licences of all that it installs.

Both are read from an environment that holds the dependencies of the package with the extras `models` and `train`, in
the versions of requirements.lock, and nothing else: neither the package nor a tool of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

EXTRAS = ("models", "train")
"""What is installed beside the core: the extras of `make shards` and `make train`. Others are a user's own choice."""

SBOM, LICENCES = "sbom.cdx.json", "dependency-licences.md"


def describe(root: Path, out: Path, extras: Sequence[str] = EXTRAS, python: Path | None = None) -> list[Path]:
    """Write the bill of materials and the table of licences into a folder; their files.

    `python` is that of an environment which has the dependencies already; without one they are installed into a
    folder that is removed again. Raises ValueError, one line, for what cannot be installed or read.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        python = python or install(root, Path(folder) / "environment", extras)
        _write_sbom(root, python, out / SBOM)
        _write_licences(python, out / LICENCES)
    return [out / SBOM, out / LICENCES]


def install(root: Path, folder: Path, extras: Sequence[str] = EXTRAS) -> Path:
    """An environment with the package's dependencies, of the lock file's versions and hashes; its Python."""
    _run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(folder))
    python = folder / "bin" / "python"
    given = [word for extra in extras for word in ("--extra", extra)]
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    _run(*install, "--constraint", str(root / "requirements.lock"), *given, "-r", str(root / "pyproject.toml"))
    return python


def _write_sbom(root: Path, python: Path, file: Path) -> None:
    _run(
        sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(root / "pyproject.toml"),
        "--mc-type", "library", "--output-reproducible", "--of", "JSON", "-o", str(file), str(python),
    )  # fmt: skip


def _write_licences(python: Path, file: Path) -> None:
    said = _run(sys.executable, "-m", "piplicenses", "--python", str(python), "--from", "mixed", "--format", "json")
    rows = sorted(json.loads(said), key=lambda row: str(row["Name"]).lower())
    if not rows:
        raise ValueError(f"{python} has no packages: nothing to list the licences of")
    table = [f"| {_cell(row['Name'])} | {_cell(row['Version'])} | {_cell(row['License'])} |" for row in rows]
    head = ["# Licences of what a release installs", "", "As the packages state them.", ""]
    file.write_text("\n".join([*head, "| package | version | licence |", "|---|---|---|", *table]) + "\n", "utf-8")


def _cell(text: str) -> str:
    """A text in a table of Markdown: some packages state their whole licence, of which the first line is its name."""
    return (text.strip().splitlines() or ["not stated"])[0].replace("|", "\\|")


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        last = " ".join(ended.stderr.split())[-500:]
        raise ValueError(f"{' '.join(command[2:5])} has failed: {last}")
    return ended.stdout
