"""One tiny checkpoint for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.tiny.chameleon import write_chameleon


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory in the format of facebook/chameleon-7b. Not to be changed."""
    return write_chameleon(tmp_path_factory.mktemp("tiny"))
