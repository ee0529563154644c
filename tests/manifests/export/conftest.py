"""The dataset that formats are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.dataset import Dataset
from tests.manifests.export.make import make_mixed


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_mixed(tmp_path_factory.mktemp("mixed") / "mixed")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """`datasets.load_dataset`, which asks no hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    return lambda *arguments, **options: datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), **options)
