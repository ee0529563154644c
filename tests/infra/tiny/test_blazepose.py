"""BlazePose's files come out of one wheel, known by its hash, and of no other."""

from __future__ import annotations

import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from infra.tiny import blazepose
from operators.models.pose.blazepose import FILES


def _wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        for name in FILES:
            wheel.writestr(f"mediapipe/modules/{name}", f"weights of {name}")
        wheel.writestr("mediapipe/other.tflite", "not ours")
    return path


def test_only_our_files_are_taken_from_the_wheel(tmp_path: Path) -> None:
    wheel, folder = _wheel(tmp_path / "a.whl"), tmp_path / "blazepose"
    folder.mkdir()
    blazepose.unpack(wheel, sha256(wheel.read_bytes()).hexdigest(), folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: f"weights of {name}" for name in FILES}


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the index, or somebody between, gave a wheel of the same name with other contents."""

    def download(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        _wheel(Path(command[command.index("-d") + 1], "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(ValueError, match=blazepose.WHEEL_SHA256):
        blazepose.fetch_blazepose(tmp_path / "blazepose")
    assert not any((tmp_path / "blazepose").iterdir())


def test_without_an_index_one_line_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        OSError, match=rf"^pip could not download {blazepose.WHEEL}, .*No matching distribution"
    ) as error:
        blazepose.fetch_blazepose(tmp_path / "blazepose")
    assert "\n" not in str(error.value)
