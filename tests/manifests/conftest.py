"""Fixtures of the tests of `verify`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.manifests.make import make_dataset


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "derain"
    make_dataset(str(root))
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A finished dataset to damage."""
    return Path(shutil.copytree(sound, tmp_path / "derain"))


@pytest.fixture
def unfinished(root: Path) -> Path:
    """All units are committed, and there is no dataset.json whose hashes would find everything."""
    (root / "dataset.json").unlink()
    return root
