from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.models.files import damage, files_of, header, sha256_of
from tests.sources import write_files

save_file = pytest.importorskip("safetensors.numpy").save_file

WEIGHTS = "model.safetensors"
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


def _take_weights(folder: Path, config: bytes) -> None:
    write_files(folder, {"vae/config.json": config})
    (folder / "vae/model.safetensors").unlink()


def _link(folder: Path) -> None:
    """A component that another checkpoint has too, and there is damaged."""
    (folder / "vae").rename(folder.with_name("other"))
    write_files(folder.with_name("other"), {"model.safetensors": b"x" * 99})
    (folder / "vae").symlink_to(folder.with_name("other"))
    (folder / "circle").symlink_to(folder)


def _enlarge(path: Path) -> None:
    """Make a file of 1 GB of it, which takes no room on a disk."""
    with path.open("ab") as file:
        file.truncate(10**9)


def _claim(folder: Path, bytes_: int) -> None:
    """Have a file of weights say that its header is so long."""
    path = folder / "vae/model.safetensors"
    path.write_bytes(bytes_.to_bytes(8, "little") + path.read_bytes()[8:])


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
        (lambda folder: write_files(folder, {"vae/config.json": b"half of"}), "vae/config.json is not JSON"),
        *(
            (
                lambda folder, text=text: write_files(folder, {"unet/model.safetensors.index.json": text}),
                "unet/model.safetensors.index.json is no index",
            )
            for text in (b"{}", b'{"weight_map": [1]}', b'{"weight_map": {"a": 1}}')
        ),
        (
            lambda folder: _take_weights(folder, b'{"_class_name": "V"}'),
            "vae/config.json is there, its weights are not",
        ),
        (lambda folder: _take_weights(folder, b'{"architectures": ["V"]}'), "vae/config.json is there, its weights"),
        *(
            (
                lambda folder, text=text: write_files(folder, {"vae/config.json": text}),
                f"vae/config.json says that {said}",
            )
            for text, said in (
                (b'{"num_attention_heads": 0}', "num_attention_heads is 0"),
                (b'{"vision_config": {"patch_size": -14}}', "patch_size is -14"),
            )
        ),
        (lambda folder: _link(folder), "vae/model.safetensors is no safetensors file"),
        *(
            (
                lambda folder, name=name: write_files(
                    folder, {"unet/model.safetensors.index.json": json.dumps({"weight_map": {"a": name}}).encode()}
                ),
                f"unet/model.safetensors.index.json names {name[:60]}",
            )
            for name in ("../vae/model.safetensors", "/etc/passwd", "a/../../../etc/passwd", "x" * 200)
        ),
        (
            lambda folder: write_files(folder, {"model_index.json": b'{"../other": ["diffusers", "U"]}'}),
            "model_index.json names ../other, which is not in its folder",
        ),
        (
            lambda folder: write_files(folder, {"model_index.json": b'{"unet": [], "gone": ["x", "y"]}'}),
            "model_index.json names gone, which is not there",
        ),
        *(
            (lambda folder, name=name: _enlarge(folder / name), f"{name} has 1,000,000,000 bytes: none that is read")
            for name in ("vae/config.json", "model_index.json", "unet/model.safetensors.index.json", "tokenizer.json")
        ),
        (lambda folder: write_files(folder, {"vae/config.json": b"[" * 200_000}), "vae/config.json is not JSON"),
        (lambda folder: _claim(folder, 10**12), "vae/model.safetensors is no safetensors file"),
        (lambda folder: _claim(folder, 2**64 - 1), "vae/model.safetensors is no safetensors file"),
        (lambda folder: _claim(folder, 90_000_000), "vae/model.safetensors is cut short"),
    ],
)
def test_what_is_not_whole_is_said(harm: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    folder = _whole(tmp_path / "whole")
    harm(folder)
    assert damage(folder).startswith(said)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who can read all: here the disk itself fails."""
    folder, opened = _whole(tmp_path), Path.open

    def failing(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "model-2.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", failing)
    assert damage(folder) == "unet/model-2.safetensors cannot be read (Permission denied)"


def test_a_scheduler_has_a_config_and_no_weights(tmp_path: Path) -> None:
    write_files(_whole(tmp_path), {"scheduler/config.json": b'{"_class_name": "DDIMScheduler"}'})
    assert damage(tmp_path) == ""


def test_a_header_that_lies_is_no_safetensors(tmp_path: Path) -> None:
    of_texts = b'{"a": {"data_offsets": ["a", "b"]}}'
    lies = (b'{"a": 3}', b'{"a": {"data_offsets": []}}', b"[1, 2] ", b"[" * 100_000, of_texts)
    for text in lies:
        path = tmp_path / "model.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        assert damage(tmp_path) == "model.safetensors is no safetensors file"


def test_files_of_the_hubs_cache_are_known_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, files lie in blobs/ by their sha256, and a snapshot holds links to them."""
    hashed = _hashed_files(monkeypatch)
    folders = [_snapshot(tmp_path, repository, b"the same weights") for repository in ("dev", "fill")]
    other = _snapshot(tmp_path, "other", b"the other weight")
    sums = [sha256_of(folder / "vae" / WEIGHTS) for folder in (*folders, other)]
    assert sums[0] == sums[1] == hashlib.sha256(b"the same weights").hexdigest() != sums[2]
    assert hashed == []


def _snapshot(root: Path, repository: str, weights: bytes) -> Path:
    blob = root / repository / "blobs" / hashlib.sha256(weights).hexdigest()
    file = root / repository / "snapshots/0a1b/vae" / WEIGHTS
    for path in (blob, file):
        path.parent.mkdir(parents=True)
    blob.write_bytes(weights)
    file.symlink_to(blob)
    return root / repository / "snapshots/0a1b"


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = _hashed_files(monkeypatch)
    file = tmp_path / WEIGHTS
    for content in (b"one", b"one, longer"):
        file.write_bytes(content)
        sums = {sha256_of(file) for _ in range(3)}
        assert sums == {hashlib.sha256(content).hexdigest()}
    assert hashed == [str(file), str(file)]


def _hashed_files(monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """The files that are read to be hashed from now on."""
    read: list[str] = []
    digest = hashlib.file_digest

    def noted(opened: Any, name: Any) -> Any:
        read.append(opened.name if isinstance(opened.name, str) else str(opened.name))
        return digest(opened, name)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return read
