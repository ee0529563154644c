from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.models.files import damage, files_of, header
from tests.sources import write_files

save_file = pytest.importorskip("safetensors.numpy").save_file

_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


def _whole(folder: Path) -> Path:
    """A pipeline of two components, of which one has its weights in two files."""
    write_files(
        folder,
        {
            "model_index.json": json.dumps(
                {"_class_name": "P", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"], "safety": [None, None]}
            ).encode(),
            "unet/model.safetensors.index.json": json.dumps(
                {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
            ).encode(),
            "vae/config.json": b"{}",
            "README.md": _POINTER,  # which no model is loaded from
        },
    )
    for name in ("unet/model-1", "unet/model-2", "vae/model"):
        save_file({"a": np.ones((2, 3), np.float32)}, folder / f"{name}.safetensors", metadata={"format": "pt"})
    return folder


def test_what_is_whole_has_no_damage_and_its_header_is_read(tmp_path: Path) -> None:
    folder = _whole(tmp_path)
    assert damage(folder) == ""
    assert header(folder / "vae/model.safetensors") == {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    assert sorted(path.name for path in files_of(folder))[:2] == ["config.json", "model-1.safetensors"]


def _cut(folder: Path, bytes_: int) -> None:
    path = folder / "unet/model-2.safetensors"
    path.write_bytes(path.read_bytes()[:bytes_])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: _cut(folder, -1), "unet/model-2.safetensors is cut short: it has "),
        (lambda folder: _cut(folder, 40), "unet/model-2.safetensors is cut short, after 40 bytes"),
        (lambda folder: _cut(folder, 3), "unet/model-2.safetensors is no safetensors file"),
        (lambda folder: write_files(folder, {"vae/model.safetensors": b"x" * 99}), "vae/model.safetensors is no safe"),
        (lambda folder: write_files(folder, {"vae/model.safetensors": _POINTER}), "vae/model.safetensors is a pointer"),
        (lambda folder: write_files(folder, {"vae/weights.pth": _POINTER}), "vae/weights.pth is a pointer of Git LFS"),
        (
            lambda folder: (folder / "unet/model-1.safetensors").unlink(),
            "unet/model.safetensors.index.json names model-1.safetensors, which is not there",
        ),
        (
            lambda folder: (folder / "vae").rename(folder / "other"),
            "model_index.json names vae, which is not there",
        ),
        (lambda folder: write_files(folder, {"model_index.json": b"[]"}), "model_index.json is not JSON"),
    ],
)
def test_what_is_not_whole_is_said(harm: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    folder = _whole(tmp_path)
    harm(folder)
    assert damage(folder).startswith(said)


def test_a_header_that_lies_is_no_safetensors(tmp_path: Path) -> None:
    for text in (b'{"a": 3}', b'{"a": {"data_offsets": []}}', b"[1, 2] "):
        path = tmp_path / "model.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        assert damage(tmp_path) == "model.safetensors is no safetensors file"
