"""The source distribution and the wheel of a commit: the same bytes whoever builds them, and when.

They are built of `git archive`, so that nothing that is not committed gets in, with the time of the commit as
SOURCE_DATE_EPOCH. The wheel is built of the source distribution, as an installer would who has that alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from manifests.storage import naming


def build(root: Path, out: Path, commit: str = "HEAD") -> list[Path]:
    """Build the packages of a commit into a folder; their files.

    Raises ValueError, one line, if uv cannot build them.
    """
    epoch = _git(root, "show", "--no-patch", "--format=%ct", commit).decode().strip()
    with tempfile.TemporaryDirectory() as folder:
        archive, source, made = (Path(folder) / name for name in ("source.tar", "source", "made"))
        with naming(archive):
            archive.write_bytes(_git(root, "archive", commit))
        with tarfile.open(archive) as tar:
            tar.extractall(source, filter="data")
        command = [sys.executable, "-m", "uv", "build", "--quiet", "--no-create-gitignore", "--out-dir", str(made), "."]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
        ended = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True)
        if ended.returncode:
            raise ValueError(f"the packages cannot be built: {' '.join(ended.stderr.split())}")
        out.mkdir(parents=True, exist_ok=True)
        built = sorted(made.iterdir())
        for file in built:
            (out / file.name).write_bytes(file.read_bytes())
    return [out / file.name for file in built]


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True).stdout
