"""What tests of the doctor share: a small real disk, and what a command line asks for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from infra.doctor.asked import Asked, asked_for
from infra.doctor.finding import Finding

Disk = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts small disks with some options of mount(8). Skips without the rights to."""
    mounted: list[Path] = []

    def mount(options: str, name: str = "disk") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def asked(*arguments: str) -> Asked:
    """What a command line asks for."""
    return asked_for(arguments, "xprompt doctor")


def only(found: Sequence[Finding]) -> tuple[str, str, str]:
    """State, text and way out of the only finding."""
    (one,) = found
    return one.state, one.text, one.way_out
