"""Tiny checkpoints of generators and measures: small, and the same each time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from infra.tiny import annotators as tiny_annotators
from infra.tiny import clip as tiny_clip
from infra.tiny import diffusion as tiny_diffusion

MOST_BYTES = 6 * 2**20


def test_they_are_the_same_each_time_and_small(tiny: str, tmp_path: Path) -> None:
    tiny_diffusion.write_flux(tmp_path / "flux")
    tiny_diffusion.write_cascade(tmp_path / "stable-cascade-prior", tmp_path / "stable-cascade")
    tiny_clip.write_csd(tmp_path / "csd")
    tiny_clip.write_lpips(tmp_path / "lpips")
    tiny_clip.write_dino(tmp_path / "dino")
    for folder in tmp_path.iterdir():
        assert _hashes(folder) == _hashes(Path(tiny, folder.name)), folder.name
    for folder in Path(tiny).iterdir():
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < MOST_BYTES, folder.name


def test_annotators_are_the_same_each_time_and_small(tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "other"):
        tiny_annotators.write_depth_anything(folder / "depth")
        tiny_annotators.write_segformer(folder / "labels")
        tiny_annotators.write_marigold_normals(folder / "normals")
    assert _hashes(tmp_path / "one") == _hashes(tmp_path / "other")
    for file in (tmp_path / "one").rglob("*"):
        assert file.stat().st_size < MOST_BYTES, file.name


def _hashes(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
